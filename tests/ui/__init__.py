"""Tests in a real browser: JupyterLab as a learner has it, driven by Playwright."""

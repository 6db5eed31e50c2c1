"""The pictures in docs/images are those that make screenshots takes."""

from ui.notebook import THEMES
from ui.screenshots import IMAGES, PICTURES


def test_each_widget_has_its_picture_in_both_themes() -> None:
    wanted = {f"{picture.name}-{theme}.png" for picture in PICTURES for theme in THEMES}
    assert {file.name for file in IMAGES.iterdir()} == wanted
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in IMAGES.iterdir())

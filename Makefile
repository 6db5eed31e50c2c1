# 默认目标是 help / the default target is help
.DEFAULT_GOAL := help
python := .venv/bin/python

.PHONY: help
help: ## 显示这些说明 / show these lines
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

.PHONY: lab
lab: ## 打开实验室，参数用 LAB_ARGS 传递 / open the lab; LAB_ARGS="..." goes to jupyter lab
	@scripts/setup lab
	@exec scripts/lab $(LAB_ARGS)

.PHONY: reset
reset: ## 把一课换回原样，如 make reset LESSON=v0.3 / bring a lesson back: make reset LESSON=v0.3
	@scripts/setup lab
	@exec $(python) -m labkit.notebook.home reset $(LESSON)

# Three at a time: on two cores both are always busy then, and with four they only get in each
# other's way. Whoever names tests has them in one process, which is there sooner.
.PHONY: test
test: ## 运行全部检查，参数用 TEST_ARGS 传递 / run every check; TEST_ARGS="..." goes to pytest
	@scripts/setup test
	@exec $(python) -m pytest $(or $(TEST_ARGS),-n 3)

.PHONY: quick
quick: ## 两分钟以内的检查，不开浏览器，不跑笔记本 / the checks that take under two minutes: no browser, no notebooks
	@scripts/setup test
	@exec $(python) -m pytest -n 3 -m 'not ui and not slow' $(TEST_ARGS)

.PHONY: test-image
test-image: ## 构建 Docker 镜像并在里面运行全部笔记本 / build the image, run every notebook in it
	@scripts/setup image
	@exec $(python) scripts/image/check_image.py $(IMAGE_ARGS)

.PHONY: notebooks
notebooks: ## 从 notebooks/source 重建并执行笔记本 / rebuild and run the notebooks from their sources
	@scripts/setup test
	@exec $(python) notebooks/build.py $(BUILD_ARGS)

.PHONY: faults
faults: ## 让每个系统调用失败一次（一小时）/ let each system call fail once (an hour)
	@scripts/setup test
	@cd tests && exec ../$(python) -m faults $(FAULTS_ARGS)

.PHONY: exam
exam: ## 同样的命令行交给 labkit 与 Docker，比较答案 / the same command lines for labkit and Docker, compared
	@scripts/setup test
	@cd tests && exec ../$(python) -m exam $(EXAM_ARGS)

.PHONY: book
book: ## 在 book/ 里生成阅读版网站 / build the reading edition, a site in book/
	@scripts/setup book
	@exec $(python) scripts/book/make.py $(BOOK_ARGS)

.PHONY: bench
bench: ## 与 unshare、bwrap、crun、runc 比较速度 / compare the speed with its peers
	@scripts/setup bench
	@exec $(python) benchmarks/run.py $(BENCH_ARGS)

# Among processes of their own: the map of namespaces is to show the lab, not the machine.
.PHONY: screenshots
screenshots: ## 重拍 docs/images 里的图（两种主题）/ take the pictures in docs/images again, in both themes
	@scripts/setup test
	@cd tests && exec unshare --fork --pid --kill-child --mount-proc ../$(python) -m ui.screenshots

.PHONY: diagrams
diagrams: ## 重画 docs/diagrams 里的图（两种主题）/ draw docs/diagrams again, in both themes
	@scripts/setup test
	@cd tests && exec ../$(python) -m ui.diagrams

.PHONY: format
format: ## 整理 Python 代码的格式 / format the Python code
	@scripts/setup test
	@$(python) -m ruff check --fix-only --quiet .
	@$(python) -m ruff format .

.PHONY: lock
lock: ## 更新 requirements.lock / choose newer versions of the Python packages
	@scripts/lock

.PHONY: clean
clean: ## 删除 make 生成的一切（不含系统程序）/ remove what make made (not system packages)
	rm -rf .venv .jupyter .mypy_cache .pytest_cache .ruff_cache .test-results .faults book build dist
	find . -name __pycache__ -prune -exec rm -rf {} +

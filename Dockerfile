# The editor in the browser, on a CPU; docs/server.md says how to run it.
FROM python:3.13-slim

WORKDIR /source
RUN pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
RUN pip install --no-cache-dir '.[serve]' \
    && useradd --no-create-home editor && install -d -o editor /cache

WORKDIR /
ENV JACSUP_CACHE=/cache
USER editor
EXPOSE 8000
ENTRYPOINT ["jacsup"]
CMD ["serve", "--host", "0.0.0.0", "--no-browser"]

# The service of trained runs (docs/serving.md). Nobody has built this image yet; the file was linted (hadolint).
ARG PYTHON_TAG=3.11.13-slim-bookworm

FROM python:${PYTHON_TAG} AS packages
# PyTorch's own index of CPU builds; the default one would bring gigabytes for GPUs.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /build
COPY requirements.txt requirements-serve.txt requirements.lock ./
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --no-deps --index-url "${TORCH_INDEX}" \
        "$(grep '^torch==' requirements.txt)" \
    && /opt/venv/bin/pip install --no-cache-dir -r requirements-serve.txt

FROM python:${PYTHON_TAG}
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin resnorm
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY LICENSE ./
COPY data_modules data_modules
COPY lightning_modules lightning_modules
COPY experiments experiments
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_NUM_THREADS=1 \
    RESNORM_CACHE=/cache
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["python", "-m", "experiments.serve"]
CMD ["--help"]

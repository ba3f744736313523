# A policy server on an NVIDIA GPU (without one, JAX takes the CPU). Build and run: docs/docker.md.
FROM python:3.12-slim-bookworm AS wheel
COPY . /source
RUN pip install --no-cache-dir "build==1.6.1" && python -m build --wheel --outdir /dist /source

FROM nvidia/cuda:12.8.1-base-ubuntu24.04
# CUDA's libraries come as wheels with JAX; the base image brings what the driver's container runtime looks for.
ARG EXTRAS=train,cuda12
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 inspire
COPY --from=wheel /dist /dist
RUN python3 -m venv /opt/inspire \
    && /opt/inspire/bin/pip install --no-cache-dir "$(echo /dist/*.whl)[${EXTRAS}]"
ENV PATH=/opt/inspire/bin:$PATH
USER 10001
WORKDIR /home/inspire
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=15m --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["inspire-serve"]
# The shipped policy; name another with `--checkpoint`.
CMD ["--host", "0.0.0.0", "--port", "8000"]

# LIBERO with MuJoCo, rendered without a screen: evaluation of a policy server, demonstrations, labels by replay.
FROM python:3.12-slim-bookworm AS wheel
COPY . /source
RUN pip install --no-cache-dir "build==1.6.1" && python -m build --wheel --outdir /dist /source

FROM python:3.12-slim-bookworm
ARG EXTRAS=train,sim
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libegl1 libgl1 libosmesa6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 inspire \
    && install --directory --owner=inspire /home/inspire/runs
COPY --from=wheel /dist /dist
# LIBERO asks for the OpenCV with windows, which would overwrite the one without: uv can leave it out.
COPY docker/overrides.txt /dist/overrides.txt
RUN pip install --no-cache-dir "uv==0.13.9" \
    && uv venv --quiet /opt/inspire \
    && uv pip install --no-cache --python /opt/inspire/bin/python --override /dist/overrides.txt \
        "$(echo /dist/*.whl)[${EXTRAS}]"
ENV PATH=/opt/inspire/bin:$PATH
USER 10001
WORKDIR /home/inspire
ENTRYPOINT ["inspire-evaluate"]
CMD ["--help"]

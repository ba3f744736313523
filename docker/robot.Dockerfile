# The client of a Franka workstation: control loop, cameras and limits; no JAX. Real time is the host's (docs/robots.md).
FROM python:3.12-slim-bookworm AS wheel
COPY . /source
RUN pip install --no-cache-dir "build==1.6.1" && python -m build --wheel --outdir /dist /source

FROM python:3.12-slim-bookworm
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 --groups video inspire \
    && install --directory --owner=inspire /home/inspire/runs
COPY --from=wheel /dist /dist
COPY examples/franka /opt/robot/examples/franka
RUN python -m venv /opt/inspire \
    && /opt/inspire/bin/pip install --no-cache-dir "$(echo /dist/*.whl)" -r /opt/robot/examples/franka/requirements.txt
ENV PATH=/opt/inspire/bin:$PATH PYTHONPATH=/opt/robot
USER 10001
WORKDIR /home/inspire
ENTRYPOINT ["python", "/opt/robot/examples/franka/main.py"]
CMD ["--help"]

# The image of tcplab: controller (`tcplab serve`), node (`tcplab agent`) and command line; for amd64 and arm64.
#
#   docker build -t tcplab .      on the registry's Python
#   make image                    the same; on a machine that reaches no registry, on a system made from its packages
#
# When there are wheels in build/wheels nothing else is installed, and building takes no network (tools/image).
ARG BASE_IMAGE=python:3.12-slim

FROM ${BASE_IMAGE} AS build
ARG EXTRAS=netns,docker
WORKDIR /build
# build/wheels may be missing, so its name is a pattern, which nothing need match beside a file that is there.
COPY tools/requirements.py build/wheel[s] wheels/
RUN if ls wheels/pip-*.whl >/dev/null 2>&1; then \
        python3 -m venv --without-pip /tcplab \
        && printf '[global]\nno-index = true\nfind-links = /build/wheels\n' >/tcplab/pip.conf \
        && PYTHONPATH=$(echo wheels/pip-*.whl) /tcplab/bin/python -m pip install -q pip; \
    else \
        python3 -m venv /tcplab; \
    fi
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_CACHE_DIR=1
# What changes seldom comes first. Of Arrow a third goes: what tables on a disk do not need.
COPY pyproject.toml ./
RUN python3 wheels/requirements.py "$EXTRAS" >requirements.txt \
    && /tcplab/bin/pip install -q -r requirements.txt \
    && cd /tcplab/lib/python3*/site-packages/pyarrow \
    && rm -rf include src tests *flight* *s3* \
    && cd / && /tcplab/bin/python -c "import pyarrow.parquet"
COPY . .
# Nodes with our stack have /tcplab/shims first in PATH: ping, ss, nc ... that go through it.
RUN /tcplab/bin/pip install -q --no-deps . && /tcplab/bin/pip uninstall -q -y pip && rm -f /tcplab/pip.conf \
    && ln -s /tcplab/lib/python3*/site-packages/nodes/shims/bin /tcplab/shims

FROM ${BASE_IMAGE}
RUN command -v ip >/dev/null && command -v tcpdump >/dev/null && command -v openssl >/dev/null \
    || { apt-get update && apt-get install -y --no-install-recommends iproute2 tcpdump openssl \
        && rm -rf /var/lib/apt/lists/*; }
COPY --from=build /tcplab /tcplab
ENV PATH=/tcplab/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /work
ENTRYPOINT ["tcplab"]
CMD ["--help"]

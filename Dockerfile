# The lab in an image, with everything in it: once it is built, nothing needs the network.
# 装好一切的实验室；镜像建好以后，不再需要网络。
#
#   docker build -t labkit .
#   docker run --rm -it --privileged --cgroupns=private -p 127.0.0.1:8888:8888 labkit
#
# --privileged means that root in this container is root on the machine that Docker runs on, as
# `sudo make lab` is: do it on your own machine, best in a virtual machine (Docker Desktop is one).
# --privileged 意味着容器里的 root 就是 Docker 所在机器上的 root，和 sudo make lab 一样。
#
# Behind a slow line each mirror is one variable away (docs/reach.md):
#   docker build --build-arg BASE=... --build-arg APT_MIRROR=... --build-arg PIP_INDEX_URL=... .
ARG BASE=debian:12-slim

# --- The programs of the system: those that scripts/setup asks for, and what starts the lab -------
FROM ${BASE} AS programs
# The address before /debian and /debian-security, in place of Debian's own: http, for there are no
# certificates here; apt checks the packages' signatures.
ARG APT_MIRROR
RUN set -eu; \
    if [ -n "${APT_MIRROR:-}" ]; then \
        sed -i "s|^URIs: [a-z]*://[^/]*|URIs: ${APT_MIRROR%/}|" /etc/apt/sources.list.d/debian.sources; \
    fi; \
    apt-get update -qq; \
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        busybox-static iproute2 make nftables procps python3 tini util-linux; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log

# --- The Python packages: each one of requirements.lock, its hash compared -------------------------
FROM programs AS packages
RUN set -eu; \
    apt-get update -qq; \
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv; \
    python3 -m venv /pip
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
WORKDIR /labkit
COPY requirements.lock ./
RUN /pip/bin/pip wheel --quiet --require-hashes --no-deps --only-binary=:all: \
        --requirement requirements.lock --wheel-dir /wheels

# --- Of those, what the lab needs: nothing that only tests need, and no pip ------------------------
FROM packages AS venv
COPY pyproject.toml README.md LICENSE LICENSE-docs.md Makefile ./
COPY go go
COPY labkit labkit
COPY scripts/labkit scripts/labkit
# Then the package's own files give way to those in /labkit, as in a clone: those are what is shown.
RUN set -eu; \
    python3 -m venv --without-pip .venv; \
    /pip/bin/pip --python .venv/bin/python install --quiet --no-index --find-links /wheels .; \
    cd .venv/lib/python3*/site-packages; \
    rm -r labkit; \
    echo /labkit >labkit.pth; \
    find /labkit/.venv -name '*.map' -delete; \
    rm -rf /labkit/build

# --- The image -------------------------------------------------------------------------------------
FROM programs
RUN useradd --create-home --uid 1000 --shell /bin/bash learner
WORKDIR /labkit
COPY --from=venv /labkit .
COPY Makefile ./
COPY docs docs
COPY go go
COPY scripts/lab scripts/lab
COPY scripts/jupyter scripts/jupyter
COPY notebooks notebooks
# What a learner works on; a volume here outlives the container.
RUN install --directory --owner=learner --group=learner lessons
# Images of the lessons' containers are here. A layer hides files of those below it by marks that no overlay
# takes, and the root of this container is one. 镜像放在这里：overlay 的根目录不收遮住文件的记号。
VOLUME /var/lib/labkit
# The lab listens on every address of the container; who may reach it, -p says.
# A port that is taken is said to be so, instead of another one that nobody has published.
ENV LANG=C.UTF-8 \
    LAB_IP=0.0.0.0 \
    JUPYTER_PORT=8888 \
    JUPYTER_PORT_RETRIES=0 \
    PATH=/labkit/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LABEL org.opencontainers.image.title="labkit" \
      org.opencontainers.image.description="从零写 Docker · Write Docker from scratch, in Jupyter" \
      org.opencontainers.image.licenses="Apache-2.0 AND CC-BY-4.0"
EXPOSE 8888
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["sh", "-c", "exec busybox wget -q -O /dev/null http://127.0.0.1:$JUPYTER_PORT/api"]
# As PID 1 a program ignores SIGTERM unless it says otherwise, and has orphans to bury: tini does.
ENTRYPOINT ["tini", "--"]
CMD ["scripts/lab"]

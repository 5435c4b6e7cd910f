# Assay in a container: `docker build -t assay .`; docs/running.md has the rest.
# Build arguments: PIP_TORCH_ARGS as for make; EXTRAS, locks to add (gpu, cluster, train, envs);
# PACKAGES, Debian's that the programs need (on a card "gcc python3-dev": Triton compiles with them);
# OWNER, the uid that owns /data and /index and reads the keys; BASE, Debian's image, by digest if you like.

ARG BASE=debian:bookworm-slim
FROM $BASE AS build
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends ca-certificates gcc libc6-dev python3-dev python3-venv
RUN python3 -m venv /opt/assay
COPY locks /src/locks
ARG PIP_TORCH_ARGS=""
ARG EXTRAS=""
RUN PIP_NO_CACHE_DIR=1 /src/locks/install.sh /opt/assay/bin/python torch run $EXTRAS
COPY . /src
RUN /opt/assay/bin/pip --disable-pip-version-check install -qq --no-deps --no-build-isolation /src/devnet /src/python-wasm /src/judge /src \
    && /opt/assay/bin/pip --disable-pip-version-check check

FROM $BASE
ARG PACKAGES=""
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends ca-certificates python3 $PACKAGES \
    && rm -rf /var/lib/apt/lists/*
ARG OWNER=1000
RUN useradd --uid "$OWNER" --create-home assay && install -d -o assay -g assay /data /index
COPY --from=build /opt/assay /opt/assay
ENV PATH=/opt/assay/bin:$PATH
USER assay
ARG EXTRAS=""
# both images, in a minute and 360 MB. Compiled for this processor: build on the kind that runs them
RUN case " $EXTRAS " in *" envs "*) \
      assay sandbox prepare --quiet && assay sandbox prepare --for reasoning_gym --quiet ;; esac
WORKDIR /data
VOLUME /data
# a process with PyTorch takes seconds to end its step: SIGTERM asks it to
STOPSIGNAL SIGTERM
ENTRYPOINT ["assay"]
CMD ["--help"]

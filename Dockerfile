# Without CUDA:  docker build -t mbrl .
# With CUDA:     docker build -t mbrl:cuda --build-arg TORCH=cuda .
# Run:           docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" mbrl train env=cartpole
# On a GPU:      the same with --gpus all mbrl:cuda (needs the NVIDIA container toolkit on the host)
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

# Off-screen rendering of MuJoCo, for videos and images.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libegl1 libgl1-mesa-dri \
    && rm -rf /var/lib/apt/lists/*

# The wheel of PyPI contains CUDA, so no CUDA base image is needed. torch has a layer of its own,
# because it is large and seldom changes.
ARG TORCH=cpu
WORKDIR /src
COPY constraints.txt ./
RUN case "$TORCH" in \
      cpu) pip install --no-cache-dir -c constraints.txt torch \
             --index-url https://download.pytorch.org/whl/cpu ;; \
      cuda) pip install --no-cache-dir -c constraints.txt torch ;; \
      *) echo "TORCH=$TORCH: must be cpu or cuda" >&2; exit 2 ;; \
    esac

# Extras of pyproject.toml, separated by commas.
ARG EXTRAS=fast,mujoco,render,video
COPY pyproject.toml setup.py README.md LICENSE ./
COPY mbrl_cli mbrl_cli
COPY configs configs
RUN pip install --no-cache-dir -c constraints.txt ".[$EXTRAS]"

# Any user id can write here. Mount a folder of the host on /work to keep `outputs/`.
ENV HOME=/work
RUN mkdir -m 1777 /work
WORKDIR /work
ENTRYPOINT ["mbrl"]
CMD ["--help"]

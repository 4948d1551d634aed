# w2s_jax on NVIDIA GPUs; build it in the root of a clone:
#   docker build -f launch/gpu.Dockerfile -t w2s:gpu . && docker run --gpus all -v "$PWD/runs:/work/runs" w2s:gpu w2s run quickstart
FROM python:3.12-slim
WORKDIR /work
COPY . /src
RUN pip install --no-cache-dir 'jax[cuda13]' '/src[plot]'
ENV W2S_CACHE=/work/cache
CMD ["w2s", "--help"]

# w2s_jax on TPUs, as launch/gke.sh runs it; build it in the root of a clone:
#   docker build -f launch/tpu.Dockerfile -t REGION-docker.pkg.dev/PROJECT/REPOSITORY/w2s:1 . && docker push ...
FROM python:3.12-slim
WORKDIR /work
COPY . /src
RUN pip install --no-cache-dir 'jax[tpu]' '/src[plot]'
ENV W2S_CACHE=/work/cache
CMD ["w2s", "--help"]

# docker build --tag suite .
# docker build --tag suite:gpu --build-arg REQUIREMENTS=requirements-gpu.txt .    # with NVIDIA's libraries
# docs/scaling.md and docs/serving.md say how to train and serve in it.
FROM python:3.12-slim

# A new volume for runs or data sets belongs to the user of its folder in the image.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 suite \
    && install --directory --owner suite /suite /suite/mlruns /home/suite/.keras

USER 1000
WORKDIR /suite

# The packages come before the code, so that a change of the code does not install them again.
ARG REQUIREMENTS=requirements.txt
COPY --chown=suite Makefile requirements.txt requirements-gpu.txt requirements-jax.txt requirements-team.txt requirements-cluster.txt \
    requirements-shards.txt ./
RUN PIP_NO_CACHE_DIR=1 make .venv/installed \
    && .venv/bin/python -m pip install --no-cache-dir --quiet --require-hashes --requirement "$REQUIREMENTS"

COPY --chown=suite . .
# Otherwise make would install the packages again, because the file of the requirements may be newer than this layer.
RUN touch .venv/installed

EXPOSE 5001
CMD ["make", "train"]

# Serves the lessons in Jupyter: docker build -t cam . && docker run --rm -p 8888:8888 cam
# On ARM processors, too, an image for x86-64, which Docker emulates: MXNet's wheel for ARM needs libraries of Arm's own.
FROM --platform=linux/amd64 python:3.13-slim-trixie
# The two libraries that MXNet loads and Debian's slim image lacks; git and make for whoever works inside.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 libquadmath0 git make \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home learner && mkdir /course && chown learner /course
USER learner
WORKDIR /course
# An image for learners: .dockerignore leaves out the sources of the problem sets, which hold the solutions.
COPY --chown=learner . .
RUN PIP_NO_CACHE_DIR=1 make setup
EXPOSE 8888
CMD [".venv/bin/jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser", "--notebook-dir=lessons"]

# Serves the lessons in Jupyter: docker build -t cam . && docker run --rm -p 8888:8888 cam
FROM python:3.13-slim-trixie
# The two libraries that MXNet loads and Debian's slim image lacks; git and make for whoever works inside.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 libquadmath0 git make \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home learner && mkdir /course && chown learner /course
USER learner
WORKDIR /course
# An image for learners: .dockerignore leaves out the sources of the problem sets, which hold the solutions.
COPY --chown=learner . .
RUN make setup
EXPOSE 8888
CMD [".venv/bin/jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser", "--notebook-dir=lessons"]

# An image of one's own for runs and deployments on Azure, in which the engine's packages are installed already: a run begins minutes sooner
# than on the public image, and its container needs no package index. Build it at the project's root, push it, name it in LUTHIER_AZURE_IMAGE:
#
#   docker build -f infra/engine.Dockerfile -t REGISTRY/luthier-engine:1 .
#   docker push REGISTRY/luthier-engine:1
#
# For a CPU profile: --build-arg LOCK=engine-cpu.txt. The program itself is not in it: each run brings its own, by digest, on the share.
# Nobody has built it against a live subscription yet.

# As DEFAULT_IMAGE in tools/azure/choice.py: torch comes with it, in the engine's version.
ARG BASE=docker.io/pytorch/pytorch:2.13.0-cuda13.0-cudnn9-runtime
FROM ${BASE}

ARG LOCK=engine-cuda.txt
COPY locks/${LOCK} /tmp/engine.txt
# By hash, and without looking for more: the lock is complete but for torch. Some distributions guard their own Python against pip.
RUN python3 -m pip install --break-system-packages --no-cache-dir --no-deps --require-hashes -r /tmp/engine.txt \
 && rm /tmp/engine.txt \
 && python3 -c "import torch, transformers, peft, olive, onnxruntime"

# Empty: the platform changes the owner of every file below it, one by one, before a container starts.
WORKDIR /work

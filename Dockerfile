# One image for every part: Airflow's components, the Spark driver and workers they start, and the MLflow servers.
FROM python:3.11-slim-bookworm

RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openjdk-17-jre-headless procps \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/modelfleet
ENV PATH=/opt/modelfleet/.venv/bin:$PATH \
    PYSPARK_PYTHON=/opt/modelfleet/.venv/bin/python \
    PYSPARK_DRIVER_PYTHON=/opt/modelfleet/.venv/bin/python \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    AIRFLOW_HOME=/opt/modelfleet/airflow \
    MODELFLEET_HOME=/opt/modelfleet/home

# --no-deps: the list is complete (overrides.txt says what it leaves out, and why).
COPY requirements.txt ./
RUN python3 -m venv .venv \
    && .venv/bin/python -m pip install -q --no-cache-dir uv==0.13.8 \
    && .venv/bin/uv pip install -q --no-cache --python .venv/bin/python --no-deps --compile-bytecode -r requirements.txt

COPY pyproject.toml README.md LICENSE ./
COPY include include
RUN .venv/bin/uv pip install -q --no-cache --python .venv/bin/python --no-deps -e .
COPY dags dags
COPY plugins plugins

RUN useradd --create-home --uid 50000 modelfleet \
    && mkdir -p airflow home /lake /mlflow/staging /mlflow/production \
    && chown -R modelfleet airflow home /lake /mlflow
USER modelfleet

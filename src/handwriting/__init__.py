"""Is setting A better than B, or was it a lucky seed? Composed by Hydra, trained by Keras, tracked by MLflow.

Importing the package imports neither TensorFlow nor MLflow: a mistyped key is answered at once. It sets
what both read from their environment when they are imported; what is set already stays. And it makes the
schema and the resolvers of conf/ known to Hydra, in whatever process.

One direction of travel: commands -> launching -> sweeps -> training -> data. Tracking, config and errors
serve all of them; compare, from runs to an answer, uses tracking only.
"""

import os

# oneDNN's kernels are off by default on CPUs without AVX-512, though they take less time there too, and
# their results, unlike Eigen's, do not depend on the number of threads (LOG.md). They change the last
# bits, so the flag is among what is stored with a run.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

# Nothing is sent to MLflow's makers, and no model of a store is unpickled.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

# A server that is gone ends a run after at most two minutes: five attempts of 15 s, and 30 s between them.
# MLflow alone goes on for nine. One that starts again within half a minute is waited for.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ.setdefault("MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER", "false")

# A server's files come through it. MLflow alone reads those of an object store past the server, which may be
# the only one that reaches it.
os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")
os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "false")

from handwriting import config, tracking  # noqa: F401  # what they register

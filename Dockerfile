# BASE needs Python 3.11 or newer as python3, with pip and venv.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
# What is installed; requirements-otel.lock has what traces need besides.
ARG LOCK=requirements.lock
WORKDIR /src
COPY ${LOCK} ./
# The environment is made without pip; the base's own pip fills it, with files whose hashes the lock names.
RUN python3 -m venv --without-pip /opt/gateway \
 && python3 -m pip --python /opt/gateway/bin/python install --no-cache-dir --no-input --disable-pip-version-check \
      --no-compile --only-binary :all: --require-hashes --requirement "${LOCK}"
COPY gateway ./gateway
# Byte-compiled here, since the user it runs as may write nowhere; by checksum, so that dates do not matter.
RUN cp -R gateway "$(/opt/gateway/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/" \
 && printf '%s\n' '#!/opt/gateway/bin/python' 'import sys' 'from gateway.cli import main' 'sys.exit(main())' \
      > /opt/gateway/bin/gateway \
 && chmod 0755 /opt/gateway/bin/gateway \
 && /opt/gateway/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/gateway/lib

FROM ${BASE}
ARG BASE
ARG VERSION=0.1.0
# The commit it was built from.
ARG REVISION=unknown
LABEL org.opencontainers.image.title="gateway" \
      org.opencontainers.image.description="Descope sessions in front of services that know nothing about sign-in" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
# Nothing is ever installed here, so nothing that installs is needed; whoever gets in shall not find it.
RUN rm -rf /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/site-packages/setuptools* \
      /usr/local/lib/python3*/site-packages/wheel* /usr/local/lib/python3*/ensurepip /usr/local/bin/pip* \
      /usr/lib/python3/dist-packages/pip* /usr/lib/python3/dist-packages/setuptools* \
      /usr/lib/python3/dist-packages/wheel* /usr/share/python-wheels /usr/bin/pip*
COPY --from=build /opt/gateway /opt/gateway
COPY LICENSE /usr/share/doc/gateway/LICENSE
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GATEWAY_CONFIG=/etc/gateway/routes.yaml \
    GATEWAY_LISTEN=0.0.0.0:8080 \
    GATEWAY_ADMIN=0.0.0.0:9090
# A number, so that a cluster can see that it is not root.
USER 65532:65532
WORKDIR /
# 8080: the public listener. 9090: health and metrics, for operators; do not publish it.
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["gateway", "healthcheck"]
ENTRYPOINT ["gateway"]
CMD ["serve"]

# Tollgate's image. Any builder will do: nothing here asks for BuildKit.
#
#   docker build -t tollgate .
#   docker run --rm -p 127.0.0.1:8080:8080 -v tollgate-data:/var/lib/tollgate tollgate
#
# `make image-check` carries these steps out without an engine and proves what comes of them.

FROM rust:1.95-slim-bookworm AS builder
# pingora's zlib-ng is built by cmake; the image's own gcc builds the rest.
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake make pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# The dependencies, without a line of Tollgate's: this layer stays until Cargo.toml or Cargo.lock changes. Cargo wants
# to see every target that the manifest names, so each gets an empty file.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches \
    && touch src/lib.rs \
    && echo 'fn main() {}' > src/main.rs \
    && sed -n 's|^name = "\([^"]*\)"$|benches/\1.rs|p' Cargo.toml | xargs touch \
    && cargo build --release --locked --bin tollgate \
    && rm -rf src benches

# Tollgate itself. The files are newer than what stood in for them, unless a checkout set their times: hence `touch`.
COPY . .
ARG REVISION=unknown
RUN touch src/lib.rs src/main.rs \
    && TOLLGATE_REVISION="$REVISION" cargo build --release --locked --bin tollgate \
    && install -D -s target/release/tollgate /out/usr/local/bin/tollgate \
    && install -d -m 0700 /out/var/lib/tollgate \
    && install -d /out/etc/tollgate /out/usr/share/doc/tollgate \
    && install -m 0644 LICENSE-APACHE LICENSE-MIT /out/usr/share/doc/tollgate/

# glibc, libgcc and libm are all that Tollgate links; beside them it needs the certificates of authorities. Time zones
# are in the program. There is no shell and no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=builder --chown=65532:65532 /out/var/lib/tollgate /var/lib/tollgate
COPY --from=builder /out/etc/tollgate /etc/tollgate
COPY --from=builder /out/usr /usr

# The image's contract: clients connect to 8080 and everything that lasts is in the volume, whatever a settings file says
# of the two. The admin port stays on the container's loopback unless a settings file moves it, which needs a token.
ENV TOLLGATE_LISTEN=0.0.0.0:8080 \
    TOLLGATE_DATA_DIR=/var/lib/tollgate
# tollgate.yaml is found here when it is mounted.
WORKDIR /etc/tollgate
VOLUME /var/lib/tollgate
EXPOSE 8080 8081
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["tollgate", "healthcheck"]
ENTRYPOINT ["tollgate"]

# Last, as they differ from build to build.
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=https://github.com/tollgate-dev/tollgate
LABEL org.opencontainers.image.title="Tollgate" \
      org.opencontainers.image.description="A reverse proxy in front of OpenAI-shaped APIs that meters every request" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"

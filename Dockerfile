# patrol in an image that holds nothing else: no shell, no package manager, no
# root. Build: docker build --build-arg VERSION=1.2.3 -t patrol .
# A release names the base by its digest: --build-arg GO_IMAGE=golang:1.26.8@sha256:…
# (of this image only the certificates of authorities reach the result; the
# binary has the bytes of `make reproducible`, whatever built it).
# Run:   docker run --rm -v "$PWD:/work" --user "$(id -u)" -e DATABRICKS_HOST … patrol audit
ARG GO_IMAGE=golang:1.26.8
FROM ${GO_IMAGE} AS build
ARG VERSION=dev
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/patrol ./cmd/patrol \
 && mkdir -p /out/tmp /out/work && chmod 1777 /out/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/patrol /usr/local/bin/patrol
COPY --from=build --chown=65532:65532 /out/tmp /tmp
COPY --from=build --chown=65532:65532 /out/work /work
USER 65532:65532
ENV HOME=/work
WORKDIR /work
ENTRYPOINT ["/usr/local/bin/patrol"]

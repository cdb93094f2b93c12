"""Make a certificate authority, a certificate for each part of a dask cluster, and dask's configuration for them.

    python make_certificates.py certificates
    python make_certificates.py certificates --seen-at /certificates     # where they will lie on the cluster

Whoever holds a key that the authority has signed may run code on the cluster. Keep the folder as you keep passwords,
and leave ``ca-key.pem`` out when you copy it: it is needed only to sign more certificates.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
ROLES = {"scheduler": [SERVER, CLIENT], "worker": [SERVER, CLIENT], "client": [CLIENT]}
"""Scheduler and workers call each other; a client only calls, so its certificate does not pass for a scheduler's."""


def main(arguments: list[str] | None = None) -> None:
    """Write the files, none of them over another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="made, for you alone to read")
    parser.add_argument("--days", type=int, default=365, help="that the certificates are valid")
    parser.add_argument("--seen-at", type=Path, help="path of the folder where dask runs; by default the folder itself")
    given = parser.parse_args(arguments)
    folder: Path = given.folder
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"{folder} is not empty: a new authority would lock out what runs with the old one. Name another.")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)

    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=given.days)
    authority_key = new_key(folder / "ca-key.pem")
    authority = sign(authority_key, "authority", authority_key, None, [], end)
    write(folder / "ca.pem", authority.public_bytes(serialization.Encoding.PEM))
    for role, usages in ROLES.items():
        key = new_key(folder / f"{role}-key.pem")
        certificate = sign(key, role, authority_key, authority, usages, end)
        write(folder / f"{role}.pem", certificate.public_bytes(serialization.Encoding.PEM))
    write(folder / "dask.yaml", configuration(given.seen_at or folder.resolve()).encode())
    print(f"Made {folder}, valid until {end:%Y-%m-%d}. Use it: export DASK_CONFIG={folder.resolve()}")


def new_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A private key, written to `path`."""
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    write(path, key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return key


def sign(
    key: ec.EllipticCurvePrivateKey,
    role: str,
    authority_key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate | None,
    usages: list[x509.ObjectIdentifier],
    end: datetime.datetime,
) -> x509.Certificate:
    """A certificate for `key`; without `authority`, one that signs itself and others."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"daskaug {role}")])
    is_authority = authority is None
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if authority is None else authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of a cluster differ.
        .not_valid_before(datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .add_extension(key_usage(is_authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        # Python 3.13 refuses certificates without it.
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
    )
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(authority_key, hashes.SHA256())


def key_usage(is_authority: bool) -> x509.KeyUsage:
    """To sign certificates, or to prove who one is."""
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def configuration(place: Path) -> str:
    """What turns TLS on, and everything else off, in each process that reads it."""
    roles = "".join(
        f"      {role}:\n        cert: {place}/{role}.pem\n        key: {place}/{role}-key.pem\n" for role in ROLES
    )
    return (
        "distributed:\n  comm:\n    default-scheme: tls\n    require-encryption: true\n"
        f"    tls:\n      ca-file: {place}/ca.pem\n{roles}"
    )


def write(path: Path, content: bytes) -> None:
    """A new file that only its owner reads, from its first byte on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content)


if __name__ == "__main__":
    main()

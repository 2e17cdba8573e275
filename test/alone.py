# SPDX-License-Identifier: Apache-2.0
"""Run a command in an isolated network namespace, and log the host names that it looks up.

    unshare --net --mount python alone.py NAMES_FILE COMMAND [ARGUMENT ...]

This program is the only name server, and finds no name.
"""

import fcntl
import socket
import struct
import subprocess
import sys
import tempfile
import threading

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_NO_SUCH_NAME = b"\x81\x83"


def bring_loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        _, flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def use_name_server(address):
    with tempfile.NamedTemporaryFile("w") as resolv_conf:
        resolv_conf.write(f"nameserver {address}\n")
        resolv_conf.flush()
        mount = ["mount", "--bind", resolv_conf.name, "/etc/resolv.conf"]
        subprocess.run(mount, check=True)


def name_in(question):
    """Host name in a DNS message with one question."""
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode())
        at += 1 + question[at]
    return ".".join(labels)


def serve(server, names_file):
    while True:
        question, client = server.recvfrom(4096)
        with open(names_file, "a") as names:
            names.write(name_in(question) + "\n")
        server.sendto(question[:2] + _NO_SUCH_NAME + question[4:], client)


def main():
    names_file, *command = sys.argv[1:]
    bring_loopback_up()
    use_name_server("127.0.0.1")
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    threading.Thread(target=serve, args=(server, names_file), daemon=True).start()
    return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main())

"""The router of one server: a network namespace between its sandboxes and the machine.

Started as `python -I -S router.py CONTROL_FD` with a plan (JSON) as the first message on that socket. Every sandbox
gets a pair of virtual devices whose other end lies here; what is let through is the plan's rules. One more pair leads
to the machine. The router ends with the server, and the namespace with all devices ends with it.
"""

import errno
import os
import re
import signal
import socket
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import syscalls as sc
import wire

NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 1, 4, 0x200, 0x400
RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_NEWROUTE = 16, 17, 20, 24
IFLA_IFNAME, IFLA_LINKINFO, IFLA_NET_NS_FD = 3, 18, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_GATEWAY, RTA_OIF = 5, 4
RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST = 254, 3, 0, 1
NESTED = 0x8000
IFF_UP = 1
GUARD = "lambent_forwarding"  # a table of the machine: there while it forwards on our account
FORWARDING = "/proc/sys/net/ipv4/ip_forward"
INSIDE = 1000  # number of a sandbox's device; numbers here are its sandbox's plus this


def attribute(kind, value):
    size = 4 + len(value)
    return struct.pack("=HH", size, kind) + value + bytes(-size % 4)


def text(kind, value):
    return attribute(kind, value.encode() + b"\0")


def link(index=0, flags=0):
    return struct.pack("=BxHiII", 0, 0, index, flags, flags)


def address(index, local, peer, length=32):
    head = struct.pack("=BBBBi", socket.AF_INET, length, 0, 0, index)
    return head + attribute(IFA_LOCAL, socket.inet_aton(local)) + attribute(IFA_ADDRESS, socket.inet_aton(peer))


def default_route(index, gateway):
    head = struct.pack("=8BI", socket.AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0)
    return head + attribute(RTA_GATEWAY, socket.inet_aton(gateway)) + attribute(RTA_OIF, struct.pack("=i", index))


def pair(name, index, other, other_index, namespace):
    """A pair of devices: `name` here, `other` in the network namespace behind a descriptor."""
    peer = link(other_index) + text(IFLA_IFNAME, other) + attribute(IFLA_NET_NS_FD, struct.pack("=I", namespace))
    data = attribute(IFLA_INFO_DATA | NESTED, attribute(VETH_INFO_PEER | NESTED, peer))
    info = attribute(IFLA_LINKINFO | NESTED, text(IFLA_INFO_KIND, "veth") + data)
    return link(index) + text(IFLA_IFNAME, name) + info


class Netlink:
    """Requests to the network of the thread that made it. What fails raises OSError."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self.socket.bind((0, 0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, *requests):
        """(type, body) each, done in this order."""
        create = {RTM_DELLINK: 0}
        messages = []
        for number, (kind, body) in enumerate(requests):
            flags = NLM_F_REQUEST | NLM_F_ACK | create.get(kind, NLM_F_CREATE)
            messages.append(struct.pack("=IHHII", 16 + len(body), kind, flags, number, 0) + body)
        self.socket.send(b"".join(message + bytes(-len(message) % 4) for message in messages))
        left, failed = len(messages), 0
        while left:
            answer = self.socket.recv(65536)
            while answer:
                (size,) = struct.unpack_from("=I", answer)
                (code,) = struct.unpack_from("=i", answer, 16)
                failed = failed or -code
                left -= 1
                answer = answer[size + 3 & ~3 :]
        if failed:
            raise OSError(failed, os.strerror(failed))


class Router:
    def __init__(self, control, plan, machine):
        self.control = control
        self.plan = plan
        self.machine = machine  # the machine's network namespace
        sc.unshare(sc.CLONE_NEWNET)
        self.own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.here = Netlink()

    # The machine's side

    def abroad(self, work):
        """What `work` gives in the machine's network."""
        sc.setns(self.machine, sc.CLONE_NEWNET)
        try:
            return work()
        finally:
            sc.setns(self.own, sc.CLONE_NEWNET)

    def set_up(self):
        with open("/proc/sys/net/ipv4/conf/all/rp_filter", "w") as file:
            file.write("1")  # what leaves a sandbox bears its own address
        with open(FORWARDING, "w") as file:
            file.write("1")
        near, far = self.abroad(self.connect)
        uplink = self.plan["uplink"]
        index = socket.if_nametoindex(uplink)
        self.here.ask(
            (RTM_NEWLINK, link(1, IFF_UP)),
            (RTM_NEWADDR, address(index, near, near, 30)),
            (RTM_NEWLINK, link(index, IFF_UP)),
            (RTM_NEWROUTE, default_route(index, far)),
        )
        apply(self.plan["rules"])

    def connect(self):
        """A pair of devices from the machine to the router; the addresses of both ends, ours first."""
        name = self.plan["link"]
        remove(name)
        number = free_network(self.plan["uplinks"])
        far, near = socket.inet_ntoa(struct.pack("!I", number + 1)), socket.inet_ntoa(struct.pack("!I", number + 2))
        with Netlink() as there:
            there.ask((RTM_NEWLINK, pair(name, 0, self.plan["uplink"], 0, self.own)))
            index = socket.if_nametoindex(name)
            there.ask((RTM_NEWADDR, address(index, far, far, 30)), (RTM_NEWLINK, link(index, IFF_UP)))
        network = "{}/30".format(socket.inet_ntoa(struct.pack("!I", number)))
        apply(anew(self.plan["table"]) + self.plan["machine_rules"].replace("NETWORK", network))
        start_forwarding()
        return near, far

    def stop(self):
        """The server is gone: leave the machine as it was. What is in this namespace ends with it."""
        self.abroad(self.disconnect)

    def disconnect(self):
        apply(anew(self.plan["table"]))
        remove(self.plan["link"])
        stop_forwarding()

    # Sandboxes

    def serve(self):
        while True:
            message, fds = wire.receive(self.control)
            if message is None:
                return
            answer = {"op": "answer", "id": message["id"]}
            try:
                getattr(self, "on_" + message["op"])(message, fds)
            except OSError as error:
                answer = {"op": "failed", "order": message["op"], "id": message["id"], "reason": str(error)}
            finally:
                for fd in fds:
                    os.close(fd)
            wire.send(self.control, answer)

    def on_attach(self, message, fds):
        """A device `eth0` for the sandbox whose network namespace, or a process of it, is behind a descriptor."""
        number, own, gateway = message["number"], message["address"], self.plan["gateway"]
        sc.setns(fds[0], sc.CLONE_NEWNET)
        try:
            with Netlink() as there:
                there.ask(
                    (RTM_NEWLINK, pair("eth0", INSIDE, "s{}".format(number), INSIDE + 1 + number, self.own)),
                    (RTM_NEWADDR, address(INSIDE, own, gateway)),
                    (RTM_NEWLINK, link(INSIDE, IFF_UP)),
                    (RTM_NEWROUTE, default_route(INSIDE, gateway)),
                )
        finally:
            sc.setns(self.own, sc.CLONE_NEWNET)
        outer = INSIDE + 1 + number
        self.here.ask((RTM_NEWADDR, address(outer, gateway, own)), (RTM_NEWLINK, link(outer, IFF_UP)))

    def on_detach(self, message, fds):
        """Take the device away; the sandbox may have gone with it already."""
        try:
            self.here.ask((RTM_DELLINK, link(INSIDE + 1 + message["number"])))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise


def devices():
    """Names of the machine's devices, those that lead to routers last."""
    names = {name for _index, name in socket.if_nameindex()}
    routers = {name for name in names if name.startswith("lambent")}
    return names - routers, routers


def start_forwarding():
    """Have the machine forward; but between the networks that it is on already, as little as before."""
    with open(FORWARDING) as file:
        if file.read().strip() == "1":
            return
    known = ", ".join('"{}"'.format(name) for name in sorted(devices()[0]))
    apply(
        "add table ip {0}\n"
        "add chain ip {0} forward {{ type filter hook forward priority filter; }}\n"
        "add rule ip {0} forward iifname {{ {1} }} oifname {{ {1} }} drop\n".format(GUARD, known)
    )
    with open(FORWARDING, "w") as file:
        file.write("1")


def stop_forwarding():
    """When the last router leaves, and nobody has come since who may rely on it."""
    others, routers = devices()
    found = subprocess.run(["nft", "list", "table", "ip", GUARD], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if routers or found.returncode != 0:
        return
    apply("delete table ip {}\n".format(GUARD))
    if others <= set(re.findall('"([^"]+)"', found.stdout.decode())):
        with open(FORWARDING, "w") as file:
            file.write("0")


def free_network(candidates):
    """The first of the networks (numbers of /30) that the machine has no route to."""
    with open("/proc/self/net/route") as file:
        routes = [line.split() for line in file.readlines()[1:]]
    taken = {socket.ntohl(int(fields[1], 16)) for fields in routes}
    for number in candidates:
        if number not in taken:
            return number
    raise OSError("every network for the router is in use on this machine")


def anew(table):
    """For nft: no such table, whether there was one or not."""
    return "add table ip {0}\ndelete table ip {0}\n".format(table)


def remove(name):
    """Take away a device of the machine, if it is there: a killed server's, or ours."""
    try:
        index = socket.if_nametoindex(name)
    except OSError:
        return
    with Netlink() as there:
        there.ask((RTM_DELLINK, link(index)))


def apply(rules):
    """Have nft take `rules`, all or none, in the network namespace of this thread."""
    done = subprocess.run(["nft", "-f", "-"], input=rules.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise OSError("nft: " + done.stdout.decode(errors="replace").strip()[:500])


def main():
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    plan, _fds = wire.receive(control)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends after its server, and tidies up
    router = Router(control, plan, os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
    try:
        router.set_up()
        wire.send(control, {"op": "ready", "pid": os.getpid()})
        router.serve()
    except OSError as error:
        sys.exit(str(error))
    finally:
        router.stop()


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""What RPyC (ZeroDeploy), execnet and Mitogen take for what grapnel's calls do.

    peers.py PEER first              connects, calls once, leaves: to be timed as a whole process
    peers.py PEER sync COUNT         median of a call with a small argument, in microseconds
    peers.py PEER pipeline COUNT     calls a second, COUNT of them under way at once
    peers.py rpyc connect COUNT      median of a further connection to the deployed server, with its
                                     first call, in milliseconds
    peers.py rpyc iterate COUNT      seconds to go through a list of COUNT integers over there
    peers.py PEER there              says nothing, and fails if the peer is not installed

SSHD_CONFIG, SSHD_PORT, SSHD_KEY, SSHD_USER and SSHD_KNOWN tell where to (tests/sshd/fixture.bash).
"""
import os
import statistics
import sys
import time

PYTHON = "/usr/bin/python3"
ENV = os.environ


def twice(x):
    return x + x


def median_us(call, count):
    times = []
    for i in range(count + count // 10):
        before = time.perf_counter()
        call(i)
        times.append(time.perf_counter() - before)
    return statistics.median(times[count // 10:]) * 1e6


class Rpyc:
    def __init__(self):
        import rpyc
        from plumbum import SshMachine
        from rpyc.utils.zerodeploy import DeployedServer
        self.rpyc = rpyc
        self.machine = SshMachine(
            "t", ssh_opts=["-F", ENV["SSHD_CONFIG"]], scp_opts=["-F", ENV["SSHD_CONFIG"]])
        self.server = DeployedServer(self.machine, python_executable=PYTHON)
        self.conn = self.server.classic_connect()
        self.conn.execute("def twice(x): return x + x")
        self.call = self.conn.namespace["twice"]

    def pipeline(self, count):
        start = self.rpyc.async_(self.call)
        results = [start(i) for i in range(count)]
        return [r.value for r in results]

    def connect(self, count):
        conns = []

        def connect(_):
            conns.append(self.server.classic_connect())
            if conns[-1].eval("6 * 7") != 42:
                raise SystemExit("rpyc: wrong answer")
        took = median_us(connect, count) / 1e3
        for conn in conns:
            conn.close()
        return took

    def iterate(self, count):
        self.conn.execute("many = list(range(%d))" % count)
        many = self.conn.namespace["many"]
        before = time.perf_counter()
        if sum(1 for _ in many) != count:
            raise SystemExit("rpyc: items are missing")
        return time.perf_counter() - before

    def close(self):
        self.conn.close()
        self.server.close()
        self.machine.close()


class Execnet:
    SERVER = "for x in channel:\n    channel.send(x + x)\n"

    def __init__(self):
        import execnet
        self.group = execnet.Group()
        self.gateway = self.group.makegateway(
            "ssh=t//ssh_config=%s//python=%s" % (ENV["SSHD_CONFIG"], PYTHON))
        self.channel = self.gateway.remote_exec(self.SERVER)

    def call(self, x):
        self.channel.send(x)
        return self.channel.receive()

    def pipeline(self, count):
        for i in range(count):
            self.channel.send(i)
        return [self.channel.receive() for _ in range(count)]

    def close(self):
        self.group.terminate(timeout=5)


class Mitogen:
    def __init__(self):
        import mitogen.master
        self.broker = mitogen.master.Broker()
        self.router = mitogen.master.Router(self.broker)
        self.context = self.router.ssh(
            hostname="127.0.0.1", port=int(ENV["SSHD_PORT"]), username=ENV["SSHD_USER"],
            identity_file=ENV["SSHD_KEY"], identities_only=True, python_path=PYTHON,
            check_host_keys="enforce",
            ssh_args=["-F", ENV["SSHD_CONFIG"], "-o", "UserKnownHostsFile=" + ENV["SSHD_KNOWN"]])

    def call(self, x):
        return self.context.call(twice, x)

    def pipeline(self, count):
        results = [self.context.call_async(twice, i) for i in range(count)]
        return [r.get().unpickle() for r in results]

    def close(self):
        self.context.shutdown(wait=True)
        self.broker.shutdown()
        self.broker.join()


PEERS = {"rpyc": Rpyc, "execnet": Execnet, "mitogen": Mitogen}


def pipelined(peer, count):
    peer.pipeline(count // 10)
    before = time.perf_counter()
    if peer.pipeline(count) != [i + i for i in range(count)]:
        raise SystemExit("wrong answers")
    return count / (time.perf_counter() - before)


def main():
    name, what = sys.argv[1:3]
    if what == "there":
        __import__(name)
        return
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    peer = PEERS[name]()
    try:
        if what == "first":
            if peer.call(21) != 42:
                raise SystemExit("wrong answer")
        elif what == "sync":
            print("%.1f" % median_us(peer.call, count))
        elif what == "pipeline":
            print("%.0f" % pipelined(peer, count))
        elif what == "connect":
            print("%.3f" % peer.connect(count))
        elif what == "iterate":
            print("%.4f" % peer.iterate(count))
        else:
            raise SystemExit("there is no " + what)
    finally:
        peer.close()


if __name__ == "__main__":
    main()

"""Exercises of V0.9: a cable laid, the way of an address, a port published, and a silence."""

import functools
from typing import Any

from labkit.notebook.exercises import mishaps, solutions, wires
from labkit.notebook.exercises.answers import WrongError
from labkit.notebook.exercises.broken import Broken, Suspect
from labkit.notebook.exercises.exercise import Exercise, Found, Lesson
from labkit.notebook.exercises.machine import observe, told
from labkit.notebook.exercises.step import Seen, Step
from labkit.text.words import Words

_LINE = "{:5} {:8} {:5} {}"


def _links(seen: Seen) -> list[str]:
    """The links of both sides, a line each."""
    return [
        _LINE.format(place, name, "UP" if up else "DOWN", " ".join(addresses)).rstrip()
        for place in ("host", "box")
        for name, up, addresses, _ in seen[place]
    ]


class Connect(Step):
    """A cable with an address at each end."""

    title = Words("接一根线", "Lay a cable")
    task = Words(
        f"写一个函数 `connect(pid)`：`pid` 是一个容器的进程，它有自己的网络命名空间，在 80 端口上有一个网页。"
        f"接一根 veth，这边的地址是 {wires.HOST}/24，容器里那头叫 `eth0`，地址是 {wires.BOX}/24。检查从这边打开那个网页。",
        f"Write a function `connect(pid)`. `pid` is a process of a container, which has a network "
        f"namespace of its own and a page at port 80. Lay a veth: the address on this side is "
        f"{wires.HOST}/24. The end in the container is called `eth0`, and its address is "
        f"{wires.BOX}/24. The check opens the page from this side.",
    )
    hints = (
        Words(
            "五件事：造一对，一头送过去，两头各有地址，两头都打开。容器里的那一头，要进到容器的网络里去设。",
            "Five things: make the pair, one end goes there, an address at each end, both ends up. "
            "What is to be set in the container takes a visit to the container's network.",
        ),
        Words(
            '`IPRoute` 来自 pyroute2；`peer={"ifname": "eth0", "net_ns_pid": pid}`。'
            "打开 `/proc/{pid}/ns/net`，`setns(描述符, CLONE_NEWNET)`，再开一个 `IPRoute()`，它就在容器里了。",
            '`IPRoute` is from pyroute2; `peer={"ifname": "eth0", "net_ns_pid": pid}`. Open '
            "`/proc/{pid}/ns/net`, call `setns(descriptor, CLONE_NEWNET)`, and open another "
            "`IPRoute()`: it is in the container.",
        ),
    )
    model = staticmethod(solutions.connect)
    scene = "connected"
    why = Words(
        "docker run 对每个容器做的就是这些，只是这边的一头还插进网桥，地址在网桥上。"
        "netlink 的套接字属于打开它的时候所在的命名空间，所以先 setns，再打开。",
        "docker run does this for each container, only that the end on this side is a port of a "
        "bridge, and the bridge has the address. A netlink socket belongs to the namespace in "
        "which it is opened: so setns first, and open it then.",
    )

    NO_CABLE = (
        Words("容器里还是只有 lo。", "There is still only lo in the container."),
        Words(
            "那一头要送进容器：`net_ns_pid`，或者造好以后再改。",
            "The other end has to go there: by `net_ns_pid`, or by a change afterwards.",
        ),
    )
    NO_ADDRESS = (
        Words(
            "{place} 的 `{name}` 应当有地址 {wanted}，现在有的是：{found}。",
            "`{name}` in {place} should have the address {wanted}. It has: {found}.",
        ),
        Words(
            '`netlink.addr("add", index=..., address=..., prefixlen=24)`，在它自己的命名空间里。',
            '`netlink.addr("add", index=..., address=..., prefixlen=24)`, in its own namespace.',
        ),
    )
    DOWN = (
        Words("{place} 的 `{name}` 还关着。", "`{name}` in {place} is still down."),
        Words(
            '`netlink.link("set", index=..., state="up")`，两头都要。',
            '`netlink.link("set", index=..., state="up")`, for both ends.',
        ),
    )
    NO_PAGE = (
        Words(
            "都接好了，网页却打不开：{said}。", "All is there, but the page does not open: {said}."
        ),
        Words("两头是同一根线的两头吗？", "Are these the two ends of one cable?"),
    )

    def consider(self, seen: Seen, inner: Seen) -> Found:  # noqa: ARG002 - both sides are seen
        """Look at both ends, then at the page."""
        evidence = told(seen, *_links(seen), f"{wires.BOX}:80  ⇒  {seen['page']}")
        if not any(name == "eth0" for name, *_ in seen["box"]):
            raise WrongError(self.NO_CABLE, evidence)
        for place, wanted in (("host", wires.HOST), ("box", wires.BOX)):
            self._end(seen, place, f"{wanted}/{wires.PREFIX}", evidence)
        if seen["page"] != "box":
            raise WrongError(self.NO_PAGE, evidence, said=seen["page"])
        return Found(Words("网页打开了。", "The page opens."), evidence)

    def _end(self, seen: Seen, place: str, wanted: str, evidence: str) -> None:
        """The end on one side, with its address, up."""
        known = [each for each in seen[place] if each[0] != "lo"]
        right = next((each for each in known if wanted in each[2]), None)
        if right is None:
            name, _, addresses, _ = known[0]
            found = ", ".join(addresses) or "-"
            about = {"place": place, "name": name, "wanted": wanted, "found": found}
            raise WrongError(self.NO_ADDRESS, evidence, **about)
        if not right[1]:
            raise WrongError(self.DOWN, evidence, place=place, name=right[0])


class Route(Step):
    """The kernel's choice of a route, in Python."""

    title = Words("走哪条路", "Which way?")
    task = Words(
        "写一个函数 `route(routes, address)`：`routes` 是几对（网络，网卡），例如 "
        '`("10.9.0.0/16", "b")`，次序随便，网络也可以是 `"default"`；返回内核会从哪块网卡发出去往 `address` 的包，'
        "没有路就返回 `None`。检查让内核用同样的路由回答。",
        "Write a function `route(routes, address)`. `routes` are pairs of a network and a link, such "
        'as `("10.9.0.0/16", "b")`, in any order; a network may be `"default"` too. It returns the '
        "link by which the kernel sends a packet to `address`, and `None` where there is no way. "
        "The check asks the kernel with the same routes.",
    )
    hints = (
        Words(
            "合用的路由可能不止一条。哪一条说得最细？", "Several routes may fit. Which says most?"
        ),
        Words(
            "`ipaddress.ip_network` 和 `in` 说合不合用，`prefixlen` 说有多细；`default` 就是 `0.0.0.0/0`。",
            "`ipaddress.ip_network` and `in` say whether one fits, and `prefixlen` says how much it "
            "says. `default` is `0.0.0.0/0`.",
        ),
    )
    model = staticmethod(solutions.route)
    scene = "routed"
    why = Words(
        "最长前缀优先：次序不算，前缀最长的算。所以 VPN 添一条更细的路由，就能把一个网段从默认路由手里接过去；"
        "也所以容器的子网与 VPN 的撞上时，其中一边会忽然不通。",
        "The longest prefix wins, and the order does not matter. So a VPN takes a network over from the default "
        "route by a route that says more. And so one of the two stops working when the subnet of "
        "containers is that of the VPN too.",
    )

    SHORTER = (
        Words(
            "`{address}`：`{given}` 也合用，可是 `{wanted}` 的前缀更长，内核走 `{wanted}`。",
            "`{address}`: `{given}` fits, but the prefix of `{wanted}` is longer, so the kernel takes "
            "`{wanted}`.",
        ),
        Words(
            "合用的里面，挑 `prefixlen` 最大的。",
            "Of those that fit, take the largest `prefixlen`.",
        ),
    )
    NO_WAY = (
        Words(
            "`{address}`：没有一条路由合用，内核答 ENETUNREACH，你的函数答的是 `{given}`。",
            "`{address}`: no route fits, and the kernel says ENETUNREACH. Your function gave `{given}`.",
        ),
        Words("没有合用的，就是 `None`。", "If none fits, the answer is `None`."),
    )
    OTHER = (
        Words(
            "`{address}`：内核走 `{wanted}`，你的函数答的是 `{given}`。",
            "`{address}`: the kernel takes `{wanted}`. Your function gave `{given}`.",
        ),
        Words(
            "比的是数，不是字：`10.9.71.1` 不在 `10.9.7.0/24` 里。",
            "Compare numbers, not text: `10.9.71.1` is not in `10.9.7.0/24`.",
        ),
    )

    def consider(self, seen: Seen, inner: Seen) -> Found:  # noqa: ARG002 - there are two tables
        """Compare with the kernel, address by address."""
        lines = [
            f"{address:10} {came['kernel'][address]!s:6} {given}"
            for came in seen["came"]
            for address, given in came["given"].items()
        ]
        evidence = told(seen, f"{'':10} {'kernel':6} route()", *lines)
        for came in seen["came"]:
            for address, wanted in came["kernel"].items():
                if (given := came["given"][address]) != wanted:
                    about = {"address": address, "wanted": wanted, "given": given}
                    raise WrongError(self._diagnosis(came, **about), evidence, **about)
        return Found(
            Words("每个地址都和内核走得一样。", "For each address the kernel takes the same way."),
            evidence,
        )

    def _diagnosis(self, came: Seen, address: str, wanted: str | None, given: object) -> Any:  # noqa: ANN401
        fitting = {
            link
            for to, link in came["routes"]
            if solutions.route([(to, link)], address) is not None
        }
        if wanted is None:
            return self.NO_WAY
        return self.SHORTER if given in fitting else self.OTHER


_NO_TEXT = (
    Words("要的是一段文字，收到的是 {kind}。", "The check wants a text, not {kind}."),
    Words("就是交给 `nft -f -` 的那段规则。", "It is what you would give to `nft -f -`."),
)


class Publish(Exercise):
    """A published port."""

    title = Words("发布一个端口", "Publish a port")
    task = Words(
        f"写一段给 nft 的规则：谁打开这台机器的 8080 端口，都到容器 {wires.BOX} 的 80 端口。"
        "别处来的和这台机器自己打开的都算；别的机器的 8080 端口不受影响。转发已经打开，容器有默认路由。",
        "Write rules for nft. A program that opens port 8080 of this machine comes to port 80 of the "
        f"container {wires.BOX}, from elsewhere and from this machine itself. Port 8080 of other "
        "machines stays what it is. Forwarding is on, and the container has a default route.",
    )
    hints = (
        Words(
            "从别处来的和自己发出的，各先遇到哪个钩子？",
            "Which hook does a packet from elsewhere meet first, and which one of our own?",
        ),
        Words(
            "prerouting（priority dstnat）和 output（priority -100）各一条链，类型都是 nat；"
            f"规则都是 `fib daddr type local tcp dport 8080 dnat to {wires.BOX}:80`。",
            "A chain of type nat at prerouting (priority dstnat) and one at output (priority -100). "
            f"Both have the rule `fib daddr type local tcp dport 8080 dnat to {wires.BOX}:80`.",
        ),
    )
    model = staticmethod(solutions.publish)
    why = Words(
        "Docker 用 iptables 的时候也是这两处：PREROUTING 和 OUTPUT 都跳到 DOCKER 链，都先问目的地是不是本机的地址。",
        "Docker does the same with iptables: both PREROUTING and OUTPUT jump to the chain DOCKER, and "
        "both ask first whether the destination is an address of the machine.",
    )

    NO_TEXT = _NO_TEXT
    REFUSED = (
        Words("nft 读不懂这段规则。", "nft does not take these rules."),
        Words(
            "看它指的那一行；`}` 前面要换行，`table ip 名字 { chain 名字 { ... } }`。",
            "Look at the line that it points at. A newline stands before each `}`: "
            "`table ip NAME { chain NAME { ... } }`.",
        ),
    )
    NOT_FROM_FAR = (
        Words("从别处打不开：{said}。", "It does not open from elsewhere: {said}."),
        Words(
            "从外面来的包，选路之前先经过 prerouting。",
            "A packet from outside passes prerouting before its route is chosen.",
        ),
    )
    NOT_FROM_HERE = (
        Words(
            "从别处打得开，从这台机器自己打不开：{said}。",
            "It opens from elsewhere, but not from this machine itself: {said}.",
        ),
        Words("自己发出的包，先遇到的是 output。", "A packet of our own meets output first."),
    )
    TOO_MUCH = (
        Words(
            "去别的机器的 8080 端口，也被带到了容器里。",
            "A call to port 8080 of another machine came to the container too.",
        ),
        Words(
            "规则要先问：目的地是不是这台机器的地址？`fib daddr type local`。",
            "The rule must ask whether the destination is this machine: `fib daddr type local`.",
        ),
    )

    def judge(self, answer: object) -> Found:
        """Load the rules, and call from everywhere."""
        if not isinstance(answer, str):
            raise WrongError(self.NO_TEXT, kind=type(answer).__name__)
        seen = observe("published", functools.partial(str, answer))
        said = seen["came"][0]["said"]
        if said:
            raise WrongError(self.REFUSED, "\n".join(said))
        lines = (
            f"far   {wires.GATE}:8080  ⇒  {seen['far']}",
            f"here  {wires.GATE}:8080  ⇒  {seen['here']}",
            f"here  {wires.FAR}:8080  ⇒  {seen['others']}",
        )
        evidence = "\n".join(lines)
        if seen["far"] != "box":
            raise WrongError(self.NOT_FROM_FAR, evidence, said=seen["far"])
        if seen["here"] != "box":
            raise WrongError(self.NOT_FROM_HERE, evidence, said=seen["here"])
        if seen["others"] != "far":
            raise WrongError(self.TOO_MUCH, evidence)
        return Found(Words("从哪里都打得开。", "It opens from everywhere."), evidence)


class Silent(Broken):
    """A container that reaches the host and nothing behind it."""

    title = Words("诊断：石沉大海", "Diagnose: no answer at all")
    symptom = Words(
        f"`way_out` 照着一个脚本把容器接到宿主机上，宿主机还有另一根线，通到 {wires.FAR}。容器打得开宿主机的网页，"
        f"去 {wires.FAR} 却没有回音：不是 `Network is unreachable`，也不是 `Connection refused`。",
        f"`way_out` connects a container with the host by somebody's script. By another cable the "
        f"host reaches {wires.FAR}. The container opens the page of the host. From {wires.FAR} "
        "there is no answer, neither `Network is unreachable` nor `Connection refused`.",
    )
    task = Words(
        "找出原因，改好 `way_out(pid)`：容器要打得开两边的网页。",
        "Find the cause and mend `way_out(pid)`: the container is to open both pages.",
    )
    hints = (
        Words(
            "三种回答，三个地方：没有路，当场就说；没有人听，对面就说；没有回音，是包在路上被扔掉了。",
            "Three answers, three places: who has no route is told at once; where nobody listens, the "
            "other side says so; and if there is no answer, the packet was dropped on its way.",
        ),
        Words(
            "扔掉它的是宿主机：目的地不是它自己，又没有叫它转发。`sysctl -q -w net.ipv4.ip_forward=1`。",
            "The host drops it: it is not for the host, and nobody has told it to forward. "
            "`sysctl -q -w net.ipv4.ip_forward=1`.",
        ),
    )
    model = staticmethod(solutions.way_out)
    broken = staticmethod(mishaps.way_out)
    scene = "silent"
    why = Words(
        "Linux 默认不是路由器：收到不是给自己的包，就悄悄扔掉。Docker 启动时会打开 ip_forward；"
        "别的程序或者一次 `sysctl --system` 又把它关上，所有容器就一起没了回音。",
        "By default Linux is no router: it drops what is not for itself and says nothing. Docker "
        "switches ip_forward on when it starts. When another program or `sysctl --system` switches "
        "it off again, all containers get no answer at once.",
    )

    NO_HOST = (
        Words(
            "容器连宿主机也到不了：{said}。", "The container does not even reach the host: {said}."
        ),
        Words("脚本前五行都要留着。", "Keep the first five lines of the script."),
    )
    SILENT = (
        Words("去远处还是不通：{said}。", "The machine behind it is still not reached: {said}."),
        Words(
            "宿主机要转发，离开时还要换来源（masquerade）。",
            "The host has to forward, and to replace the source on the way out (masquerade).",
        ),
    )
    NO_ROUTE = (
        Words(
            "检查另添了一条到那个网络的路由，仍然没有回音。",
            "The check added a route to that network. There is still no answer.",
        ),
        Words(
            "没有路由，内核当场就说 `Network is unreachable`；这里没有说。",
            "Without a route the kernel says `Network is unreachable` at once. It does not here.",
        ),
    )
    NO_MASK = (
        Words(
            "检查把掩码改成了 /16，仍然没有回音。",
            "The check made the mask a /16. There is still no answer.",
        ),
        Words(
            "掩码错了，连宿主机都到不了，或者到不了邻居。",
            "With a wrong mask the host or a neighbour would not be reached.",
        ),
    )
    NO_NAT = (
        Words(
            "检查让所有出口都换来源，仍然没有回音。",
            "The check replaced the source on every way out. There is still no answer.",
        ),
        Words("规则没有错：包根本没有走到那里。", "The rule is right: no packet comes that far."),
    )

    suspects = (
        Suspect(
            Words("容器没有到那个网络的路由。", "The container has no route to that network."),
            mishaps.way_out_by_a_route,
            NO_ROUTE,
        ),
        Suspect(
            Words("容器的掩码不对。", "The mask in the container is wrong."),
            mishaps.way_out_by_a_shorter_mask,
            NO_MASK,
        ),
        Suspect(
            Words("宿主机不转发别人的包。", "The host does not forward packets of others."),
            solutions.way_out,
        ),
        Suspect(
            Words("NAT 的规则认错了出口。", "The NAT rule names the wrong way out."),
            mishaps.way_out_with_nat_for_all,
            NO_NAT,
        ),
    )

    def facts(self, seen: Seen, inner: Seen) -> tuple[str, ...]:  # noqa: ARG002 - both are seen
        """What the container gets."""
        return (f"{wires.HOST:13} {seen['host']}", f"{wires.FAR:13} {seen['far']}")

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """Both pages are to open."""
        evidence = told(seen, *self.facts(seen, inner))
        if seen["host"] != "host":
            raise WrongError(self.NO_HOST, evidence, said=seen["host"])
        if seen["far"] != "far":
            raise WrongError(self.SILENT, evidence, said=seen["far"])
        return Found(Words("两个网页都打开了。", "Both pages open."), evidence)


class Ex09(Lesson):
    """V0.9: the network."""

    title = "v0.9"
    connect = Connect()
    route = Route()
    publish = Publish()
    silent = Silent()

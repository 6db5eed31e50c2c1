"""The verbs of Docker that labkit has: their names and what each does, for the help."""

from labkit.text.words import Words

IMAGES = {
    "images": Words("列出镜像", "list images"),
    "pull": Words("从镜像仓库拉取镜像", "get an image from a registry"),
    "push": Words("把镜像推送到镜像仓库", "send an image to a registry"),
    "load": Words("从文件或标准输入载入镜像", "load images from a file or standard input"),
    "save": Words("把镜像存成一个文件", "save images to a file"),
    "import": Words(
        "把一个根目录的归档变成镜像", "make an image of an archive of a root directory"
    ),
    "export": Words("把容器的根目录写成归档", "write a container's root directory as an archive"),
    "tag": Words("给镜像再起一个名字", "give an image one more name"),
    "rmi": Words("删除镜像", "remove images"),
    "history": Words("镜像是怎样一步步做成的", "how an image was made, step by step"),
    "commit": Words("把容器的改动做成镜像", "make an image of a container's changes"),
    "diff": Words("容器改了哪些文件", "which files a container has changed"),
    "base": Words(
        "不用网络，造出 busybox 和 host 两个镜像",
        "make the images busybox and host, without a network",
    ),
}
CONTAINERS = {
    "exec": Words("在运行着的容器里再运行一个程序", "run one more program in a container"),
    "start": Words("启动容器", "start containers"),
    "stop": Words("让容器结束，过时就杀", "end containers, and kill them when time is up"),
    "kill": Words("给容器发信号", "send containers a signal"),
    "restart": Words("结束容器，再启动", "end containers and start them again"),
    "pause": Words("暂停容器里的所有进程", "stop all processes of containers"),
    "unpause": Words("让暂停的容器继续", "let paused containers go on"),
    "ps": Words("列出容器", "list containers"),
    "logs": Words("容器打印过什么", "what a container has printed"),
    "attach": Words("接到运行着的容器的终端上", "connect with the streams of a container"),
    "wait": Words("等容器结束，打印退出状态", "wait for the end, and print the exit status"),
    "rm": Words("删除容器", "remove containers"),
    "cp": Words("在容器和宿主机之间复制文件", "copy files from a container, or to it"),
    "update": Words("改容器的限制和重启策略", "change limits and restart policy of containers"),
    "events": Words("发生过什么，正在发生什么", "what has happened, and what happens"),
    "port": Words("容器发布了哪些端口", "which ports of a container are published"),
    "rename": Words("给容器改名", "give a container another name"),
    "top": Words("容器里的进程", "the processes of a container"),
    "stats": Words("容器用了多少资源", "what containers use"),
    "inspect": Words("容器或镜像的详情", "details of containers or images"),
}
NEW = {
    "run": Words("在新容器里运行一个程序", "run a program in a new container"),
    "create": Words("造一个容器，先不启动", "make a container, and do not start it yet"),
}
ABOUT = {
    "info": Words("这里有什么：容器、镜像、内核", "what is here: containers, images, kernel"),
    "version": Words("版本", "the version"),
}
GROUPS = {
    "container": Words("关于容器的动词", "the verbs for containers"),
    "image": Words("关于镜像的动词", "the verbs for images"),
    "system": Words("占了多少地方，清理", "what takes room, and its removal"),
    "network": Words("网络：造、列、连、删", "networks: made, listed, connected, removed"),
    "volume": Words("卷：造、列、删", "volumes: made, listed, removed"),
}
CONTAINER = {"prune": Words("删除不在运行的容器", "remove containers that do not run")}
IMAGE = {"prune": Words("删除没有名字的镜像", "remove images without a name")}
SYSTEM = {
    "df": Words("各占了多少地方", "what takes how much room"),
    "info": ABOUT["info"],
    "prune": Words("删除没有用的", "remove what nobody uses"),
}
VOLUME = {
    "create": Words("造一个卷", "make a volume"),
    "ls": Words("列出卷", "list volumes"),
    "inspect": Words("卷的详情", "details of volumes"),
    "rm": Words("删除卷", "remove volumes"),
    "prune": Words("删除没有容器用的卷", "remove volumes that no container has"),
}
NETWORK = {
    "create": Words("造一个网络", "make a network"),
    "ls": Words("列出网络", "list networks"),
    "inspect": Words("网络的详情", "details of networks"),
    "connect": Words("把容器连到网络上", "connect a container with a network"),
    "disconnect": Words("把容器从网络上断开", "disconnect a container from a network"),
    "rm": Words("删除网络", "remove networks"),
    "prune": Words("删除没有容器的网络", "remove networks that no container is on"),
}
VERBS = NEW | IMAGES | CONTAINERS | ABOUT | GROUPS

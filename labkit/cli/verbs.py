"""The verbs of Docker that labkit has for images: their names and what each does, for the help."""

from labkit.text.words import Words

VERBS = {
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
    "inspect": Words("镜像或容器的详情", "details of images or containers"),
    "commit": Words("把容器的改动做成镜像", "make an image of a container's changes"),
    "diff": Words("容器改了哪些文件", "which files a container has changed"),
    "base": Words(
        "不用网络，造出 busybox 和 host 两个镜像",
        "make the images busybox and host, without a network",
    ),
}

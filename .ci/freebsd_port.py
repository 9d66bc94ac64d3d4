"""Write the files of a FreeBSD port, sysutils/runjail: Makefile, pkg-descr, and distinfo for the release's archive.

usage: freebsd_port.py DIRECTORY ARCHIVE URL. ARCHIVE: of the release's tag, runjail-VERSION.tar.gz (docs/release.md).
URL: of the directory from which it is fetched. The list of files is made when the port is staged, as of the package.
"""

import hashlib
import sys
from pathlib import Path

import freebsd_manifest

MAKEFILE = """\
PORTNAME=	{name}
DISTVERSION=	{version}
CATEGORIES=	{category}
MASTER_SITES=	{url}

MAINTAINER=	{maintainer}
COMMENT=	{comment}
WWW=		{www}

LICENSE=	BSD2CLAUSE
LICENSE_FILE=	${{WRKSRC}}/LICENSE

RUN_DEPENDS=	{depends}

USES=		python:3.11+
NO_ARCH=	yes
NO_BUILD=	yes

do-install:
	cd ${{WRKSRC}} && ${{SETENV}} PYTHON=${{PYTHON_CMD}} ${{SH}} .ci/install "${{STAGEDIR}}" "${{PREFIX}}"

post-install:
	cd ${{STAGEDIR}}${{PREFIX}} && ${{FIND}} . \\( -type f -o -type l \\) | \\
		${{SED}} 's|^\\./||' | ${{SORT}} >> ${{TMPPLIST}}

.include <bsd.port.mk>
"""
DEPEND = "${{PYTHON_PKGNAMEPREFIX}}{name}>0:{origin}@${{PY_FLAVOR}}"


def makefile(url: str) -> str:
    """Return the port's Makefile, from what the package's manifest says."""
    package = freebsd_manifest.manifest("py311")
    modules = sorted(freebsd_manifest.MODULES.items())
    depends = " \\\n\t\t".join(DEPEND.format(name=name, origin=origin) for name, origin in modules)
    facts = {key: str(package[key]) for key in ("name", "version", "maintainer", "comment", "www")}
    return MAKEFILE.format(
        **facts, category=str(package["origin"]).split("/")[0], url=f"{url.rstrip('/')}/", depends=depends
    )


def distinfo(archive: Path) -> str:
    """Return what `make makesum` would write."""
    data, facts = archive.read_bytes(), archive.stat()
    return (
        f"TIMESTAMP = {int(facts.st_mtime)}\n"
        f"SHA256 ({archive.name}) = {hashlib.sha256(data).hexdigest()}\n"
        f"SIZE ({archive.name}) = {facts.st_size}\n"
    )


def main() -> None:
    """Write the files."""
    if len(sys.argv) != 4:
        sys.exit("usage: freebsd_port.py DIRECTORY ARCHIVE URL")
    place, archive, url = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    expected = "{name}-{version}".format(**freebsd_manifest.manifest("py311"))
    if archive.name != f"{expected}.tar.gz":
        sys.exit(f"freebsd_port: the port unpacks {expected}.tar.gz, not {archive.name}")
    place.mkdir(parents=True, exist_ok=True)
    description = str(freebsd_manifest.manifest("py311")["desc"])
    files = {"Makefile": makefile(url), "pkg-descr": f"{description}\n", "distinfo": distinfo(archive)}
    for name, text in files.items():
        (place / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

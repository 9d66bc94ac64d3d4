"""Texts of registries.conf: what is one, and what is none with the problem that is named."""

X = '[[registry]]\nlocation="x.a.test"\n'
MIRROR = X + '[[registry.mirror]]\nlocation="b.test"\n'
VALID = [
    "# nothing\n",
    '[[registry]]\nprefix="*.a.test"\ninsecure=true\n',
    '[[registry]]\nprefix="*.a.test"\nlocation="127.0.0.1:1"\n',
    '[[registry]]\nlocation="x.b.test//"\nblocked=true\n',
    '[[registry]]\nprefix="x.b.test/team/web"\nlocation="localhost/bar"\n',
    X + X,
    'short-name-mode=""\n',
    'unqualified-search-registries=["a.test", "localhost:5000"]\n',
    'credential-helpers=["containers-auth.json"]\n',
    '[aliases]\n"web"="a.test/web"\n"team/web"=""\n',
    MIRROR + 'insecure=true\npull-from-mirror="digest-only"\n',
    "[registries.search]\nregistries=['r.test']\n[registries.insecure]\nregistries=['y.test']\n",
]
# With what is wrong. Those of OURS are passed over by podman and skopeo, and what they say does not count then.
INVALID = {
    "[[registry\n": "line 1",
    '[[registry]]\nprefix="a.test/x"\n': "registry[0].location: is required, unless prefix is *.HOST",
    "[[registry]]\ninsecure=true\n": "registry[0].location: is required",
    '[[registry]]\nprefix="*.a.test/foo"\nlocation="b.test"\n': "registry[0].prefix: must be HOST",
    '[[registry]]\nprefix="*.a.test:5000"\nlocation="b.test"\n': "registry[0].prefix: must be HOST",
    '[[registry]]\nlocation="https://a.test"\n': "registry[0].location: must be HOST",
    X + "insecure=true\n" + X: "registry[1].insecure: is something else in registry[0]",
    X + "blocked=true\n" + X: "registry[1].blocked: is something else in registry[0]",
    X + 'blocked="yes"\n': "registry[0].blocked: must be true or false",
    X + "[[registry.mirror]]\ninsecure=true\n": "registry[0].mirror[0].location: is required",
    MIRROR + 'pull-from-mirror="some"\n': "mirror[0].pull-from-mirror: must be all, digest-only or tag-only",
    X + 'mirror-by-digest-only=true\n[[registry.mirror]]\nlocation="b.test"\npull-from-mirror="all"\n': "cannot stand",
    X + 'pull-from-mirror="all"\n': "registry[0].pull-from-mirror: is not known",
    "[registries.block]\nregistries=['x.a.test']\n[[registry]]\nlocation='y.test'\n": "registries: is of the format's",
    'short-name-mode="some"\n': "short-name-mode: must be enforcing, permissive or disabled",
    'unqualified-search-registries=["a b"]\n': "unqualified-search-registries: must be a list of registries",
    'unqualified-search-registries=["a.test/foo"]\n': "unqualified-search-registries: must be a list of registries",
    "unqualified-search-registries=7\n": "unqualified-search-registries: must be a list of registries",
    '[aliases]\n"web"="a.test/web:1"\n': 'aliases."web": must be HOST[:PORT]/REPOSITORY',
    '[aliases]\n"web:1"="a.test/web"\n': 'aliases."web:1": must be a name without host',
    '[aliases]\n"b.test/web"="a.test/web"\n': 'aliases."b.test/web": must be a name without host',
    '[aliases]\n"web"="web"\n': 'aliases."web": must be HOST[:PORT]/REPOSITORY',
    "[registries.block]\nregistries='x.a.test'\n": "registries.block.registries: must be a list of texts",
}
OURS = {
    "blokced=true\n": "blokced: is not known",
    X + "block=true\n": "registry[0].block: is not known",
    '[[registry]]\nprefix="b.*.test"\nlocation="b.test"\n': "registry[0].prefix: must be HOST",
    '[[registry]]\nlocation="foo/bar"\n': "registry[0].location: must be HOST",
    '[[registry]]\nlocation="x.a.test/web:1"\nblocked=true\n': "registry[0].location: must be HOST",
    MIRROR + "blocked=true\n": "registry[0].mirror[0].blocked: is not known",
    'unqualified-search-registries=["reg"]\n': "unqualified-search-registries: must be a list of registries",
    "[registries.blocked]\nregistries=['x.a.test']\n": "registries.blocked: is not known",
}

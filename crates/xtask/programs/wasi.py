# wasi.py MODULE-OR-COMPONENT FOLDER: runs a WASI command. The first preview gets the folder, the
# second the network.
import sys

import wasmtime as w
import wasmtime._bindings as bindings
from wasmtime import component

path, folder = sys.argv[1:]
engine = w.Engine()
store = w.Store(engine)
config = w.WasiConfig()
config.inherit_stdout()
config.inherit_stderr()
with open(path, "rb") as file:
    code = file.read()
if code[4:6] == b"\x01\x00":
    with open(folder + "/file", "w") as file:
        file.write("data")
    config.preopen_dir(folder, "/")
    store.set_wasi(config)
    linker = w.Linker(engine)
    linker.define_wasi()
    instance = linker.instantiate(store, w.Module(engine, code))
    instance.exports(store)["_start"](store)
else:
    bindings.wasi_config_inherit_network(config.ptr())
    store.set_wasi(config)
    linker = component.Linker(engine)
    linker.add_wasip2()
    instance = linker.instantiate(store, component.Component(engine, code))
    names = ["wasi:cli/run@0.2.%d" % minor for minor in range(12)]
    found = next(filter(None, (instance.get_export_index(store, name) for name in names)))
    instance.get_func(store, instance.get_export_index(store, "run", found))(store)

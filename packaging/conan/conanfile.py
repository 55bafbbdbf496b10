# A recipe for Conan 2, over the source folder that it lies in:
#     conan create packaging/conan
# Conan itself could not be had where this was written: it is only known to be valid Python.
import os
import re

from conan import ConanFile
from conan.tools.files import copy, load


class Lsnn(ConanFile):
    name = "lsnn"
    description = "Neural networks you can read: one C header"
    license = "MIT OR Unlicense"
    settings = "os"
    no_copy_source = True

    def set_version(self):
        header = load(self, os.path.join(self.recipe_folder, "..", "..", "lsnn.h"))
        self.version = re.search('#define LSNN_VERSION "(.*)"', header).group(1)

    def export_sources(self):
        root = os.path.join(self.recipe_folder, "..", "..")
        for name in ("lsnn.h", "LICENSE"):
            copy(self, name, root, self.export_sources_folder)

    def package(self):
        copy(self, "lsnn.h", self.source_folder, os.path.join(self.package_folder, "include"))
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))

    def package_id(self):
        self.info.clear()

    def package_info(self):
        self.cpp_info.bindirs = self.cpp_info.libdirs = []
        if self.settings.os != "Windows":
            self.cpp_info.system_libs = ["m", "pthread"]

# A port for vcpkg, over the source folder that it lies in:
#     vcpkg install lsnn --overlay-ports=packaging/vcpkg
# vcpkg itself could not be had where this was written: test_install.sh runs the file with
# functions of its own in the place of vcpkg's.
set(VCPKG_BUILD_TYPE release)                  # a header has no debug build
get_filename_component(SOURCE_PATH "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
vcpkg_cmake_configure(SOURCE_PATH "${SOURCE_PATH}" OPTIONS -DLSNN_EXAMPLES=OFF)
vcpkg_cmake_install()
vcpkg_fixup_pkgconfig()
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")

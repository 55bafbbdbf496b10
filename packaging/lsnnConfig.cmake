# lsnnConfig.cmake - find_package(lsnn) makes the target lsnn::lsnn; it lies in PREFIX/share/lsnn.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
if(NOT TARGET lsnn::lsnn)
  get_filename_component(lsnn_prefix "${CMAKE_CURRENT_LIST_DIR}/../.." ABSOLUTE)
  add_library(lsnn::lsnn INTERFACE IMPORTED)
  set_target_properties(lsnn::lsnn PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${lsnn_prefix}/include"
    INTERFACE_LINK_LIBRARIES "Threads::Threads;$<$<NOT:$<PLATFORM_ID:Windows>>:m>")
  unset(lsnn_prefix)
endif()

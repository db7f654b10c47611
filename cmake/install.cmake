# What `cmake --install` puts where: library, program, public headers, plugins (by qloom_add_plugin), and what find_package(qloom) and
# pkg-config need. Every path is relative to the prefix, so an installed tree may be moved.
include(CMakePackageConfigHelpers)

file(STRINGS ${CMAKE_SOURCE_DIR}/core/include/qloom/plugin.h abi REGEX "^#define QL_ABI_(MAJOR|MINOR)")
string(REGEX REPLACE ".*QL_ABI_MAJOR ([0-9]+).*QL_ABI_MINOR ([0-9]+).*" "\\1.\\2" QLOOM_ABI "${abi}")

install(TARGETS qloom qloom-methods qloom-cli EXPORT qloomTargets)
install(DIRECTORY core/include/qloom text/include/qloom methods/include/qloom DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES LICENSE THIRD-PARTY-NOTICES DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/qloom)
install(EXPORT qloomTargets NAMESPACE qloom:: DESTINATION ${config_folder})
configure_package_config_file(cmake/qloomConfig.cmake.in ${CMAKE_BINARY_DIR}/qloomConfig.cmake INSTALL_DESTINATION ${config_folder})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/qloomConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/qloomConfig.cmake ${CMAKE_BINARY_DIR}/qloomConfigVersion.cmake cmake/QloomPlugin.cmake
        DESTINATION ${config_folder})

set(pc_folder ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH QLOOM_PC_TO_PREFIX /${pc_folder} /)
string(REGEX REPLACE "/$" "" QLOOM_PC_TO_PREFIX ${QLOOM_PC_TO_PREFIX})
configure_file(cmake/qloom.pc.in ${CMAKE_BINARY_DIR}/qloom.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/qloom.pc DESTINATION ${pc_folder})

# qloom_add_plugin(NAME SOURCES...): one plugin as one shared object NAME.so, the same for our tree and for a third party's.
# It is installed into the plugin folder of the prefix; QLOOM_PLUGIN_OUTPUT_DIRECTORY, if set, says where it is built.
include(GNUInstallDirs)

function(qloom_add_plugin name)
    add_library(${name} MODULE ${ARGN})
    set_target_properties(${name} PROPERTIES PREFIX "" C_STANDARD 11 C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden
                          BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "$ORIGIN/..")
    if(QLOOM_PLUGIN_OUTPUT_DIRECTORY)
        set_target_properties(${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${QLOOM_PLUGIN_OUTPUT_DIRECTORY})
    endif()
    target_link_libraries(${name} PRIVATE qloom::methods qloom::qloom m)
    target_link_options(${name} PRIVATE -Wl,-z,defs)
    set_property(GLOBAL APPEND PROPERTY QLOOM_PLUGINS ${name})
    install(TARGETS ${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/qloom)
endfunction()

# qloom_add_plugin(NAME SOURCES...): one plugin as one shared object, the same for our tree and for a third party's.
function(qloom_add_plugin name)
    add_library(${name} MODULE ${ARGN})
    set_target_properties(${name} PROPERTIES PREFIX "" C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden
                          LIBRARY_OUTPUT_DIRECTORY ${QLOOM_PLUGIN_OUTPUT_DIRECTORY})
    if(TARGET qloom::qloom)
        target_link_libraries(${name} PRIVATE qloom::qloom)
    else()
        target_link_libraries(${name} PRIVATE qloom)
    endif()
    target_link_options(${name} PRIVATE -Wl,-z,defs)
endfunction()

# `cmake --build BUILD --target bundle`: one archive that runs from wherever it is unpacked, with the checks of scripts/gpu-check.sh.
set(checks test-kernels-algebra test-kernels-blocks test-kernels-groups test-kernels-random test-kernels-train test-cuda-answers test-cuda-losses
           bench-device make-model)
add_custom_target(bundle COMMAND ${CMAKE_SOURCE_DIR}/scripts/bundle.sh ${CMAKE_BINARY_DIR} ${CMAKE_BINARY_DIR}
                  DEPENDS program ${checks} VERBATIM)

# Called once the programs are there: what of them the bundle takes.
function(qloom_install_checks)
    foreach(check IN LISTS checks)
        if(TARGET ${check}) # the thread sanitizer's build has not all of them
            target_link_options(${check} PRIVATE -Wl,--disable-new-dtags)
            install(TARGETS ${check} RUNTIME DESTINATION checks COMPONENT checks EXCLUDE_FROM_ALL)
        endif()
    endforeach()
endfunction()

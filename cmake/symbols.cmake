# What the library exports, as glibc does it: the functions of the public headers (QL_API) under the version QLOOM_${PROJECT_VERSION_MAJOR};
# every other function of its rooms under QLOOM_PRIVATE, for the program and the tests of the same build and for nobody else. So there is
# one copy of the core in every process, whatever plugins link. Calls inside the library are bound when it is linked.
list(TRANSFORM QLOOM_HEADERS APPEND /qloom/*.h OUTPUT_VARIABLE headers)
file(GLOB headers CONFIGURE_DEPENDS ${headers})
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${headers})
set(public "")
foreach(header IN LISTS headers)
    file(READ ${header} text)
    string(REGEX MATCHALL "QL_API [^;(]*[ *]ql_[a-z0-9_]+\\(" declarations "${text}")
    string(REGEX REPLACE "QL_API [^;(]*[ *](ql_[a-z0-9_]+)\\(" "\\1" names "${declarations}")
    list(APPEND public ${names})
endforeach()
list(REMOVE_DUPLICATES public)
list(JOIN public ";\n        " public)
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/symbols.map CONTENT "QLOOM_${PROJECT_VERSION_MAJOR} {
    global:
        ${public};
};
QLOOM_PRIVATE {
    global:
        ql_*;
    local:
        *;
};
" @ONLY)
target_link_options(qloom PRIVATE -Wl,--version-script=${CMAKE_BINARY_DIR}/symbols.map -Wl,-Bsymbolic-functions)
set_property(TARGET qloom APPEND PROPERTY LINK_DEPENDS ${CMAKE_BINARY_DIR}/symbols.map)

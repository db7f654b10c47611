# The rooms of the house. qloom_room(NAME BELOW ROOM...) compiles NAME's folder (core/NAME, or NAME) with an include path that holds only
# the public headers and the rooms below it, and theirs, each under its own name: `#include "base/ctx.h"`. Another room's header isn't found.
set(QLOOM_ROOMS "" CACHE INTERNAL "every room, in the order of their declaration")

option(QLOOM_FUZZ "build the libFuzzer programs; needs clang" OFF)
set(QLOOM_FUZZED -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined)

function(qloom_room name)
    cmake_parse_arguments(room "" "" "BELOW;LINK" ${ARGN})
    set(folder ${CMAKE_SOURCE_DIR}/${name})
    if(IS_DIRECTORY ${CMAKE_SOURCE_DIR}/core/${name})
        set(folder ${CMAKE_SOURCE_DIR}/core/${name})
    endif()
    set(door ${CMAKE_BINARY_DIR}/rooms/${name}) # what the room sees of the others: links to their folders
    file(REMOVE_RECURSE ${door})
    file(MAKE_DIRECTORY ${door})
    foreach(below IN LISTS room_BELOW)
        if(NOT below IN_LIST QLOOM_ROOMS)
            message(FATAL_ERROR "room ${name} is declared before ${below}, which it stands on")
        endif()
        get_target_property(lower room-${below} QLOOM_BELOW)
        list(APPEND room_BELOW ${lower})
    endforeach()
    list(REMOVE_DUPLICATES room_BELOW)
    foreach(below IN LISTS room_BELOW)
        get_target_property(there room-${below} QLOOM_FOLDER)
        file(CREATE_LINK ${there} ${door}/${below} SYMBOLIC)
    endforeach()
    file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.c)
    add_library(room-${name} OBJECT ${sources})
    set_target_properties(room-${name} PROPERTIES QLOOM_FOLDER ${folder} QLOOM_BELOW "${room_BELOW}")
    target_include_directories(room-${name} PRIVATE ${QLOOM_HEADERS} ${door})
    target_link_libraries(room-${name} PRIVATE ${room_LINK})
    # Which functions leave the library is said where it is linked (symbols.cmake); none is ever replaced by another library's.
    set_target_properties(room-${name} PROPERTIES C_VISIBILITY_PRESET default)
    target_compile_options(room-${name} PRIVATE -fno-semantic-interposition $<$<BOOL:${QLOOM_FUZZ}>:${QLOOM_FUZZED}>)
    file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/rooms/${name}.path # for tests/walls.sh
         CONTENT "$<JOIN:$<TARGET_PROPERTY:room-${name},INCLUDE_DIRECTORIES>,\n>\n")
    set(QLOOM_ROOMS ${QLOOM_ROOMS} ${name} CACHE INTERNAL "")
endfunction()

# qloom_room_objects(OUT ROOM...): what the rooms compile to, as sources of a library or program.
function(qloom_room_objects out)
    list(TRANSFORM ARGN REPLACE "(.+)" "$<TARGET_OBJECTS:room-\\1>")
    set(${out} ${ARGN} PARENT_SCOPE)
endfunction()

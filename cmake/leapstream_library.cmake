# The folders that each folder may use; "_" stands for "/". This enforces the layer picture of docs/design.md: a target
# sees the headers of the folders it names and of no others.
set(MAY_USE_base "")
set(MAY_USE_proto "")
set(MAY_USE_model_api base)
set(MAY_USE_model_engine base model_api)
set(MAY_USE_model_torch base model_api model_engine)
set(MAY_USE_model_torchfile base model_api)
set(MAY_USE_model_fairseq base model_api model_engine model_torchfile)
set(MAY_USE_model_huggingface base model_api model_engine model_torchfile model_fairseq)
set(MAY_USE_metrics base)
set(MAY_USE_streaming base model_api metrics)
set(MAY_USE_base_sentences base)
set(MAY_USE_streaming_calibration base model_api model_engine streaming)
set(MAY_USE_client_gateway base proto)
set(MAY_USE_server base base_sentences client_gateway model_api streaming proto)
set(MAY_USE_client base proto)
set(MAY_USE_client_json base client)
set(MAY_USE_client_evaluation base client metrics)
set(MAY_USE_client_load base client client_evaluation metrics)
set(MAY_USE_client_hub base)
set(MAY_USE_client_hypotheses base metrics)
set(MAY_USE_client_cli base client client_evaluation client_hypotheses client_json metrics base_sentences)
set(MAY_USE_client_web base proto client client_gateway)

# leapstream_library(NAME [HEADER_ONLY] SOURCES ... PUBLIC folders PRIVATE folders
#                    EXTERNAL libraries that its users see too, HIDDEN libraries that they do not)
function(leapstream_library name)
  cmake_parse_arguments(ARG "HEADER_ONLY" "" "SOURCES;PUBLIC;PRIVATE;EXTERNAL;HIDDEN" ${ARGN})
  foreach(used IN LISTS ARG_PUBLIC ARG_PRIVATE)
    if(NOT used IN_LIST MAY_USE_${name})
      message(FATAL_ERROR "layering: ${name} may not use ${used}; see cmake/leapstream_library.cmake")
    endif()
  endforeach()
  string(REPLACE "_" "/" folder ${name})
  set(root ${PROJECT_BINARY_DIR}/include/${name})  # It holds nothing but a link to the folder.
  get_filename_component(parent ${root}/${folder} DIRECTORY)
  file(MAKE_DIRECTORY ${parent})
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${folder} ${root}/${folder} SYMBOLIC)
  list(TRANSFORM ARG_PUBLIC PREPEND leapstream_)
  list(TRANSFORM ARG_PRIVATE PREPEND leapstream_)
  if(ARG_HEADER_ONLY)
    add_library(leapstream_${name} INTERFACE)
    target_include_directories(leapstream_${name} INTERFACE ${root})
    target_link_libraries(leapstream_${name} INTERFACE ${ARG_PUBLIC} ${ARG_EXTERNAL})
  else()
    add_library(leapstream_${name} STATIC ${ARG_SOURCES})
    set_target_properties(leapstream_${name} PROPERTIES UNITY_BUILD ${LEAPSTREAM_UNITY})
    target_include_directories(leapstream_${name} PUBLIC ${root})
    target_link_libraries(leapstream_${name} PUBLIC ${ARG_PUBLIC} ${ARG_EXTERNAL} PRIVATE
                          leapstream_options ${ARG_PRIVATE} ${ARG_HIDDEN})
  endif()
endfunction()

# Call it after the test's own properties are set. It sets the environment that the test, and the programs that it
# starts, need: a folder for temporary files of the test's own (tests run side by side, and some names are taken twice),
# and what a sanitized build wants.
function(leapstream_test_environment name)
  set(folder ${PROJECT_BINARY_DIR}/tmp/${name})
  file(MAKE_DIRECTORY ${folder})
  set(environment TEST_TMPDIR=${folder})
  if(LEAPSTREAM_SANITIZE STREQUAL "thread")
    list(APPEND environment TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan/suppressions.txt)
  elseif(LEAPSTREAM_SANITIZE)
    # Tests ask for more memory than there is.
    list(APPEND environment ASAN_OPTIONS=allocator_may_return_null=1
         LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/asan/leaks.txt:print_suppressions=0)
    set_tests_properties(${name} PROPERTIES TIMEOUT 1800)
  endif()
  if(CMAKE_CROSSCOMPILING)  # qemu computes float32 a hundred times as slowly.
    set_tests_properties(${name} PROPERTIES TIMEOUT 1800)
  endif()
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "${environment}")
endfunction()

# leapstream_device_test(NAME FILTER): runs the cases of a test that FILTER names once more, on LEAPSTREAM_TEST_DEVICE,
# which is a device of LibTorch. See tests/testing/test_device.h.
function(leapstream_device_test name filter)
  if(NOT LEAPSTREAM_TORCH)
    return()
  endif()
  add_dependencies(${name} leapstream_torch)
  add_dependencies(leapstream_device_tests ${name})
  add_test(NAME ${name}.libtorch COMMAND ${name} --gtest_filter=${filter})
  set_tests_properties(${name}.libtorch PROPERTIES LABELS "golden" TIMEOUT 600)
  leapstream_test_environment(${name}.libtorch)
  get_test_property(${name}.libtorch ENVIRONMENT environment)
  set_tests_properties(${name}.libtorch PROPERTIES
    ENVIRONMENT "${environment};LEAPSTREAM_TEST_DEVICE=${LEAPSTREAM_TEST_DEVICE}")
endfunction()

# leapstream_test(NAME LABEL unit|golden|end_to_end|fuzz SOURCES ... USES libraries)
function(leapstream_test name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "LABEL" "SOURCES;USES")
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${name} PRIVATE
    LEAPSTREAM_SOURCE_DIR="${PROJECT_SOURCE_DIR}" LEAPSTREAM_BINARY_DIR="${PROJECT_BINARY_DIR}")
  target_compile_options(${name} PRIVATE -O0)  # Compiles a third faster; the twins are fast enough.
  if(LEAPSTREAM_SANITIZE MATCHES "undefined")
    # Half of the time to compile a test would go into checks of the test itself.
    target_compile_options(${name} PRIVATE -fno-sanitize=undefined)
  endif()
  target_link_libraries(${name} PRIVATE leapstream_options ${ARG_USES} GTest::gmock GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABEL}" TIMEOUT 600)
  leapstream_test_environment(${name})
endfunction()

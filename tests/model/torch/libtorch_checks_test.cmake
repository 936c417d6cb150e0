# Prints the version and the standard of a LibTorch whose c10::Device takes STRINGS, a mangled name, or why it is refused.
file(WRITE ${FOLDER}/include/torch/csrc/api/include/torch/version.h
  "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 4\n#define TORCH_VERSION_PATCH 1\n")
file(WRITE ${FOLDER}/include/ATen/ATen.h "#if (!defined(_MSVC_LANG) && __cplusplus < 202002L)\n#error\n#endif\n")
file(WRITE ${FOLDER}/libc10.so "_ZN3c106DeviceC1ERK${STRINGS}\n")
include(${SOURCE_DIR}/model/torch/libtorch_checks.cmake)
leapstream_check_libtorch(${FOLDER}/include ${FOLDER}/libc10.so version standard)
message(STATUS "good: ${version} in C++${standard}")

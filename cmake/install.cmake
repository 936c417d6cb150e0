# `cmake --install build`, in the components that the packages of cmake/package.cmake are made of; docs/install.md is for
# users. Programs look for their model and configuration from their own place, so the tree may lie anywhere.
include(CMakePackageConfigHelpers)
find_program(HELP2MAN help2man)
set(described ${PROJECT_BINARY_DIR}/share)
set(descriptions)

# Installs a program and its manual page, which help2man makes of what the program says of itself.
function(leapstream_install_program target name section component summary help)
  install(TARGETS ${target} RUNTIME DESTINATION bin COMPONENT ${component})
  if(NOT HELP2MAN)
    return()
  endif()
  set(page ${described}/man/man${section}/${name}.${section})
  list(JOIN CMAKE_CROSSCOMPILING_EMULATOR " " emulator)  # help2man gives the shell all that stands before its option.
  add_custom_command(
    OUTPUT ${page}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${described}/man/man${section}
    COMMAND ${HELP2MAN} --no-info --section=${section} --help-option=${help} --version-string=${PROJECT_VERSION}
            --name=${summary} --include=${PROJECT_SOURCE_DIR}/cmake/man_page.txt --output=${page} "${emulator} $<TARGET_FILE:${target}>"
    # The examples, which come last, keep their lines.
    COMMAND sed -i "/^.SH EXAMPLES/,$ s/^.IP$/&\\n.nf/" ${page}
    DEPENDS ${target} ${PROJECT_SOURCE_DIR}/cmake/man_page.txt
    VERBATIM)
  install(FILES ${page} DESTINATION share/man/man${section} COMPONENT ${component})
  set(descriptions ${descriptions} ${page} PARENT_SCOPE)
endfunction()

leapstream_install_program(leapstream-export leapstream-export 1 server "makes a model directory of a checkpoint" --help)
leapstream_install_program(leapstream-calibrate leapstream-calibrate 1 server "measures thresholds of policies" --help)
install(DIRECTORY model/pretrained/en-de DESTINATION share/leapstream/models COMPONENT server)
install(FILES README.md CHANGELOG.md SECURITY.md LICENSE docker/debian/copyright DESTINATION share/doc/leapstream
        COMPONENT server)
install(FILES ${SPM_SOURCE_DIR}/LICENSE DESTINATION share/doc/leapstream RENAME Apache-2.0 COMPONENT server)
install(DIRECTORY docs DESTINATION share/doc/leapstream COMPONENT server)
if(LEAPSTREAM_TORCH)
  install(TARGETS leapstream_torch LIBRARY DESTINATION lib/leapstream COMPONENT torch)
endif()

if(LEAPSTREAM_SERVER)
  leapstream_install_program(leapstream-server leapstream-server 8 server "serves simultaneous translation" --help)
  # The configuration of the image, for a machine: no port is open to others, and the model is the installed one.
  file(READ configs/server.yaml configuration)
  string(REPLACE "0.0.0.0:" "127.0.0.1:" configuration "${configuration}")
  string(REPLACE "models:\n  - /models/en-de\n" "# models:\n  # - /models/en-de\n" configuration "${configuration}")
  file(WRITE ${PROJECT_BINARY_DIR}/etc-leapstream/server.yaml "${configuration}")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS configs/server.yaml)
  install(FILES ${PROJECT_BINARY_DIR}/etc-leapstream/server.yaml DESTINATION etc/leapstream COMPONENT configuration)

  leapstream_install_program(leapstream_command leapstream 1 client "translates text while it is still arriving" --help-all)
  foreach(shell bash zsh fish)
    set(completion_${shell} ${described}/completion/leapstream.${shell})
    add_custom_command(
      OUTPUT ${completion_${shell}}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${described}/completion
      COMMAND leapstream_command completion ${shell} > ${completion_${shell}}
      DEPENDS leapstream_command
      VERBATIM)
    list(APPEND descriptions ${completion_${shell}})
  endforeach()
  install(FILES ${completion_bash} DESTINATION share/bash-completion/completions RENAME leapstream COMPONENT client)
  install(FILES ${completion_zsh} DESTINATION share/zsh/vendor-completions RENAME _leapstream COMPONENT client)
  install(FILES ${completion_fish} DESTINATION share/fish/vendor_completions.d COMPONENT client)

  # The library, for find_package(leapstream) and pkg-config, and the protocol.
  install(TARGETS leapstream_client_library EXPORT leapstream
          LIBRARY DESTINATION lib COMPONENT library NAMELINK_COMPONENT dev)
  install(FILES client/admin.h client/client.h client/policy.h client/texts.h client/types.h
          DESTINATION include/leapstream/client COMPONENT dev)
  install(FILES client/hypotheses/hypothesis.h client/hypotheses/source_stabilizer.h
          DESTINATION include/leapstream/client/hypotheses COMPONENT dev)
  install(DIRECTORY proto DESTINATION share/leapstream COMPONENT dev FILES_MATCHING PATTERN *.proto)
  install(EXPORT leapstream NAMESPACE leapstream:: FILE leapstream-targets.cmake
          DESTINATION lib/cmake/leapstream COMPONENT dev)
  file(WRITE ${PROJECT_BINARY_DIR}/leapstream-config.cmake
       "include(CMakeFindDependencyMacro)\nfind_dependency(absl)\ninclude(\${CMAKE_CURRENT_LIST_DIR}/leapstream-targets.cmake)\n")
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/leapstream-config-version.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/leapstream-config.cmake ${PROJECT_BINARY_DIR}/leapstream-config-version.cmake
          DESTINATION lib/cmake/leapstream COMPONENT dev)
  configure_file(cmake/leapstream.pc.in ${PROJECT_BINARY_DIR}/leapstream.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/leapstream.pc DESTINATION lib/pkgconfig COMPONENT dev)
endif()
add_custom_target(leapstream_described ALL DEPENDS ${descriptions})

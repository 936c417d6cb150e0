# Packages of an installed tree: `cpack -G DEB` makes four for Debian, `cpack -G TGZ` one tarball that runs from any
# folder. `./dev package` does both; docs/install.md is for users.
set(CPACK_PACKAGE_NAME leapstream)
set(CPACK_PACKAGE_VENDOR leapstream)
set(CPACK_PACKAGE_CONTACT "The leapstream authors <leapstream@localhost>")
set(CPACK_PACKAGE_FILE_NAME leapstream-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_PACKAGE_CHECKSUM SHA256)
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_GENERATOR DEB TGZ)
set(CPACK_STRIP_FILES ON)
# Whatever umask the builder has, the server's user must come to its files.
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ
    WORLD_EXECUTE)
set(CPACK_VERBATIM_VARIABLES ON)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_COMPONENTS_ALL)

# leapstream_package(COMPONENT NAME SECTION DESCRIPTION): the package has the component, and the component debian-COMPONENT
# of files that no other way of installing needs.
function(leapstream_package component name section description)
  string(TOUPPER ${component} upper)
  foreach(part ${component} debian-${component})
    string(TOUPPER ${part} upper_part)
    set(CPACK_COMPONENT_${upper_part}_GROUP ${component} PARENT_SCOPE)
  endforeach()
  install(FILES docker/debian/copyright DESTINATION share/doc/${name} COMPONENT debian-${component} EXCLUDE_FROM_ALL)
  set(CPACK_COMPONENTS_ALL ${CPACK_COMPONENTS_ALL} ${component} debian-${component} PARENT_SCOPE)
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${name} PARENT_SCOPE)
  set(CPACK_DEBIAN_${upper}_PACKAGE_SECTION ${section} PARENT_SCOPE)
  set(CPACK_DEBIAN_${upper}_DESCRIPTION ${description} PARENT_SCOPE)
endfunction()

set(library libleapstream-client${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
leapstream_package(server leapstream-server net "simultaneous translation, the server
It translates text while it is still arriving, over gRPC, HTTP and WebSockets, with models of fairseq and of the Hugging
Face hub. A small English-German model is included.")
leapstream_package(client leapstream-client text "simultaneous translation, the command-line client
The command leapstream sends text or speech to a leapstream server and prints the translation as it comes; it also
measures, and serves a page for browsers.")
leapstream_package(library ${library} libs "simultaneous translation, the client library
Programs in C++ use a leapstream server through this library. Its sessions survive the loss of their server.")
leapstream_package(dev libleapstream-client-dev libdevel "simultaneous translation, the client library's development files
Headers, files for CMake and pkg-config, and the protocol's proto files.")

set(debian ${PROJECT_SOURCE_DIR}/docker/debian)
set(CPACK_DEBIAN_SERVER_PACKAGE_DEPENDS adduser)
set(CPACK_DEBIAN_SERVER_PACKAGE_SUGGESTS leapstream-client)
set(CPACK_DEBIAN_CLIENT_PACKAGE_SUGGESTS leapstream-server)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "${library} (= ${PROJECT_VERSION}), libabsl-dev")
install(FILES ${PROJECT_BINARY_DIR}/etc-leapstream/server.yaml DESTINATION /etc/leapstream
        COMPONENT debian-server EXCLUDE_FROM_ALL)
install(FILES ${debian}/leapstream-server.service DESTINATION lib/systemd/system COMPONENT debian-server EXCLUDE_FROM_ALL)
file(WRITE ${PROJECT_BINARY_DIR}/debian/server/conffiles "/etc/leapstream/server.yaml\n")
file(WRITE ${PROJECT_BINARY_DIR}/debian/library/triggers "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_SERVER_PACKAGE_CONTROL_EXTRA
    ${debian}/postinst ${debian}/prerm ${debian}/postrm ${PROJECT_BINARY_DIR}/debian/server/conffiles)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA ${PROJECT_BINARY_DIR}/debian/library/triggers)
include(CPack)

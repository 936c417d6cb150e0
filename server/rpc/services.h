#ifndef LEAPSTREAM_SERVER_RPC_SERVICES_H_
#define LEAPSTREAM_SERVER_RPC_SERVICES_H_

#include "server/rpc/raw_service.h"
#include "server/serving.h"

namespace leapstream {

// The services of leapstream.v1. `serving` must outlive them.
RawService TranslationService(Serving* serving);
RawService LanguageModelService(Serving* serving);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_SERVICES_H_

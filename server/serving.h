#ifndef LEAPSTREAM_SERVER_SERVING_H_
#define LEAPSTREAM_SERVER_SERVING_H_

#include <memory>
#include <utility>

#include "server/admission.h"
#include "server/resume_token.h"
#include "server/served_models.h"
#include "server/server.h"
#include "server/timers.h"

namespace leapstream {

// What the calls of one server share. Outlives them: the models wait for the last one.
struct Serving {
  Serving(const ServerOptions& options, int max_sessions, ResumeSigner signer,
          std::unique_ptr<ServedModels> models)
      : options(options),
        signer(std::move(signer)),
        admission(max_sessions),
        models(std::move(models)) {}

  const ServerOptions options;
  const ResumeSigner signer;
  Admission admission;
  Timers timers;
  const std::unique_ptr<ServedModels> models;  // Last: destroyed first.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_SERVING_H_

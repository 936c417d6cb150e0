#ifndef LEAPSTREAM_SERVER_SERVING_H_
#define LEAPSTREAM_SERVER_SERVING_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "server/admission.h"
#include "server/metrics.h"
#include "server/resume_token.h"
#include "server/served_models.h"
#include "server/options.h"
#include "server/timers.h"
#include "server/token_file.h"
#include "server/worker.h"

namespace leapstream {

// What the calls of one server share. Outlives them: the models wait for the last one.
struct Serving {
  Serving(const ServerOptions& options, int max_sessions, int64_t text_bytes, ResumeSigner signer,
          std::unique_ptr<TokenFile> tokens, std::unique_ptr<Metrics> metrics,
          std::unique_ptr<ServedModels> models)
      : options(options),
        signer(std::move(signer)),
        tokens(std::move(tokens)),
        metrics(std::move(metrics)),
        admission(max_sessions, options.max_sessions_per_principal),
        texts(text_bytes),
        models(std::move(models)) {}

  const ServerOptions options;
  const ResumeSigner signer;
  const std::unique_ptr<TokenFile> tokens;  // Null: nobody needs a token.
  const std::unique_ptr<Metrics> metrics;
  Admission admission;
  ByteBudget texts;  // Of Translate, and of configs.
  Timers timers;
  // Opens sessions: the memory for a state takes milliseconds, in which no other call is to wait.
  Worker opener;
  const std::unique_ptr<ServedModels> models;  // Last: destroyed first.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_SERVING_H_

#include "server/rpc/services.h"

#include "server/rpc/stream_translate_call.h"
#include "server/rpc/unary_calls.h"

namespace leapstream {

RawService TranslationService(Serving* serving) {
  return {{"/leapstream.v1.SimultaneousTranslationService/StreamTranslate",
           [serving](auto* context) { return StreamTranslateCall::Start(serving, context); }},
          {"/leapstream.v1.SimultaneousTranslationService/Translate",
           [serving](auto* context) { return StartTranslate(serving, context); }},
          {"/leapstream.v1.SimultaneousTranslationService/ListModels",
           [serving](auto* context) { return StartListModels(serving, context); }}};
}

RawService LanguageModelService(Serving* serving) {
  return {{"/leapstream.v1.LanguageModelService/Generate",
           [serving](auto* context) { return StartGenerate(serving, context); }},
          {"/leapstream.v1.LanguageModelService/Score",
           [serving](auto* context) { return StartScore(serving, context); }},
          {"/leapstream.v1.LanguageModelService/Tokenize",
           [serving](auto* context) { return StartTokenize(serving, context); }}};
}

}  // namespace leapstream

#include "client/gateway/documents.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "leapstream/v1/simultaneous_translation.pb.h"
#include "nlohmann/json.hpp"

namespace leapstream::gateway {
namespace {

using SchemaJson = nlohmann::ordered_json;
using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

constexpr char kTitle[] = "leapstream";
constexpr char kSchemas[] = "#/components/schemas/";

SchemaJson Reference(const std::string& name) { return {{"$ref", kSchemas + name}}; }

// The schemas of a message and of all that it holds, in protobuf's mapping to JSON.
class Schemas {
 public:
  void Add(const Descriptor* message) {
    const std::string& name = message->name();
    if (json_.contains(name)) return;
    json_[name] = SchemaJson::object();
    SchemaJson properties = SchemaJson::object();
    for (int i = 0; i < message->field_count(); ++i) {
      const FieldDescriptor* const field = message->field(i);
      SchemaJson schema = Of(field);
      if (field->is_repeated()) schema = {{"type", "array"}, {"items", schema}};
      properties[field->json_name()] = schema;
    }
    json_[name] = {{"type", "object"}, {"additionalProperties", false}};
    if (!properties.empty()) json_[name]["properties"] = properties;
  }
  SchemaJson json() const { return json_; }

 private:
  SchemaJson Of(const FieldDescriptor* field) {
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
      case FieldDescriptor::CPPTYPE_UINT32:
        return {{"type", "integer"}, {"format", "int32"}};
      case FieldDescriptor::CPPTYPE_INT64:
      case FieldDescriptor::CPPTYPE_UINT64:
        return {{"type", {"string", "integer"}}, {"format", "int64"}};
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return {{"type", "number"}, {"format", "double"}};
      case FieldDescriptor::CPPTYPE_FLOAT:
        return {{"type", "number"}, {"format", "float"}};
      case FieldDescriptor::CPPTYPE_BOOL:
        return {{"type", "boolean"}};
      case FieldDescriptor::CPPTYPE_STRING:
        if (field->type() == FieldDescriptor::TYPE_BYTES) {
          return {{"type", "string"}, {"contentEncoding", "base64"}};
        }
        return {{"type", "string"}};
      case FieldDescriptor::CPPTYPE_ENUM:
        return Of(field->enum_type());
      case FieldDescriptor::CPPTYPE_MESSAGE:
        break;
    }
    if (field->message_type()->full_name() == "google.protobuf.Duration") {
      return {{"type", "string"}, {"pattern", R"(^-?\d+(\.\d{1,9})?s$)"}, {"examples", SchemaJson::array({"0.600s"})}};
    }
    Add(field->message_type());
    return Reference(field->message_type()->name());
  }
  SchemaJson Of(const google::protobuf::EnumDescriptor* type) {
    SchemaJson values = SchemaJson::array();
    for (int i = 0; i < type->value_count(); ++i) values.push_back(type->value(i)->name());
    return {{"type", "string"}, {"enum", values}};
  }

  SchemaJson json_ = SchemaJson::object();
};

// Its members are those of GatewayError::json().
SchemaJson ErrorSchema() {
  const SchemaJson members = {
      {"code", {{"type", "integer"}, {"description", "the HTTP status"}}},
      {"status", {{"type", "string"}, {"description", "the code of gRPC"}}},
      {"message", {{"type", "string"}}},
      {"reason", {{"type", "string"}, {"description", "see docs/protocol.md, \"Errors\""}}},
      {"retryDelay", {{"type", "string"}, {"description", "such as 1s: do not come back sooner"}}}};
  const SchemaJson error = {{"type", "object"},
                            {"required", {"code", "status", "message"}},
                            {"properties", members}};
  return {{"type", "object"}, {"required", SchemaJson::array({"error"})}, {"properties", {{"error", error}}}};
}

SchemaJson Info(const std::string& description) {
  return {{"title", kTitle}, {"version", "v1"}, {"description", description}};
}

SchemaJson Body(const std::string& description, const SchemaJson& schema,
                const std::string& type = "application/json") {
  return {{"description", description}, {"content", {{type, {{"schema", schema}}}}}};
}

SchemaJson Responses(const SchemaJson& good) {
  return {{"200", good}, {"default", Body("An error.", Reference("Error"))}};
}

SchemaJson Parameter(const std::string& name, const std::string& in, const std::string& description,
                     const SchemaJson& schema) {
  return {{"name", name},
          {"in", in},
          {"required", in == "path"},
          {"description", description},
          {"schema", schema}};
}

// A schema for an object with exactly this member.
SchemaJson Only(const std::string& name, const SchemaJson& schema) {
  return {{"type", "object"},
          {"required", SchemaJson::array({name})},
          {"properties", {{name, schema}}},
          {"additionalProperties", false}};
}

SchemaJson SecuritySchemes(const std::string& type) {
  SchemaJson bearer = {{"type", type},
                       {"scheme", "bearer"},
                       {"description", "only where the server wants tokens"}};
  return {{"bearer", bearer}};
}

}  // namespace

std::string OpenApiDocument() {
  Schemas schemas;
  schemas.Add(v1::TranslateRequest::descriptor());
  schemas.Add(v1::TranslateResponse::descriptor());
  schemas.Add(v1::ListModelsResponse::descriptor());
  SchemaJson all = schemas.json();
  all["Error"] = ErrorSchema();
  const SchemaJson text = {{"type", "string"}};
  SchemaJson paths;
  paths["/v1/translate"]["post"] = {
      {"operationId", "translate"},
      {"summary", "Translates a whole text. A line stays a line."},
      {"requestBody", Body("The text.", Reference("TranslateRequest"))},
      {"responses", Responses(Body("Its translation.", Reference("TranslateResponse")))}};
  paths["/v1/translate"]["post"]["requestBody"]["required"] = true;
  paths["/v1/models"]["get"] = {
      {"operationId", "listModels"},
      {"summary", "Lists the models that are served."},
      {"parameters",
       {Parameter("pageSize", "query", "the most models of an answer", {{"type", "integer"}}),
        Parameter("pageToken", "query", "nextPageToken of the answer before", text)}},
      {"responses", Responses(Body("The models.", Reference("ListModelsResponse")))}};
  paths["/v1/captions/{id}"]["get"] = {
      {"operationId", "watch"},
      {"summary", "Server-sent events: what a stream with ?captions= heard and said."},
      {"security", SchemaJson::array({SchemaJson::object()})},
      {"parameters",
       {Parameter("id", "path", "as the stream was told in its message \"captions\"", text),
        Parameter("after", "query", "the number of the last event that is known", text)}},
      {"responses", Responses(Body("The events.", text, "text/event-stream"))}};
  for (const char* name : {"openapi", "asyncapi"}) {
    paths[absl::StrCat("/v1/", name, ".json")]["get"] = {
        {"operationId", absl::StrCat(name, "Document")},
        {"summary", "Describes this interface."},
        {"security", SchemaJson::array({SchemaJson::object()})},
        {"responses", Responses(Body("The document.", {{"type", "object"}}))}};
  }
  const SchemaJson document = {
      {"openapi", "3.1.0"},
      {"info", Info("Translation over HTTP. GET /v1/stream is a WebSocket: see asyncapi.json.")},
      {"paths", paths},
      {"components", {{"schemas", all}, {"securitySchemes", SecuritySchemes("http")}}},
      {"security", SchemaJson::array({SchemaJson::object(),
                                      {{"bearer", SchemaJson::array()}}})}};
  return document.dump(2) + "\n";
}

std::string AsyncApiDocument() {
  Schemas schemas;
  schemas.Add(v1::StreamTranslateRequest::descriptor());
  schemas.Add(v1::StreamTranslateResponse::descriptor());
  SchemaJson all = schemas.json();
  all["Error"] = ErrorSchema();
  all["EndSession"] = Only("endSession", {{"type", "object"}});
  all["CaptionsId"] = Only("captions", Only("id", {{"type", "string"}}));
  const auto message = [](const std::string& name, const SchemaJson& payload) -> SchemaJson {
    return {{"name", name}, {"contentType", "application/json"}, {"payload", payload}};
  };
  SchemaJson audio = message("audio", {{"type", "string"}, {"format", "binary"}});
  audio["contentType"] = "application/octet-stream";
  audio["summary"] = "A binary message: samples in the format of the config.";
  const SchemaJson sent = {message("request", Reference("StreamTranslateRequest")), audio,
                           message("endSession", Reference("EndSession"))};
  const SchemaJson received = {message("response", Reference("StreamTranslateResponse")),
                               message("captions", Reference("CaptionsId")),
                               message("error", Reference("Error"))};
  SchemaJson channel;
  channel["description"] = "One session; docs/http.md says how it goes.";
  channel["bindings"]["ws"] = {
      {"method", "GET"},
      {"query",
       {{"type", "object"},
        {"properties",
         {{"captions", {{"type", "string"}, {"minLength", 16}, {"maxLength", 128}}}}}}}};
  channel["publish"] = {{"summary", "What the client sends."},
                        {"operationId", "send"},
                        {"message", {{"oneOf", sent}}}};
  channel["subscribe"] = {{"summary", "What the server sends."},
                          {"operationId", "receive"},
                          {"message", {{"oneOf", received}}}};
  const SchemaJson document = {
      {"asyncapi", "2.6.0"},
      {"info", Info("Simultaneous translation over a WebSocket.")},
      {"defaultContentType", "application/json"},
      {"channels", {{"/v1/stream", channel}}},
      {"components", {{"schemas", all}, {"securitySchemes", SecuritySchemes("http")}}}};
  return document.dump(2) + "\n";
}

}  // namespace leapstream::gateway

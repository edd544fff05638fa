// The words of docs/protocol.md: states, keys, limits, error replies and what a trade code proves.
#ifndef MT4GATEWAY_PROTOCOL_MQH
#define MT4GATEWAY_PROTOCOL_MQH

#include <Mt4Gateway/Json.mqh>

#define PROTOCOL_VERSION 1
#define MAX_REQUEST_BYTES 65536
#define MAX_REPLY_BYTES 8388608
#define MAX_ID_LENGTH 97
#define DIGEST_LENGTH 32
#define TOKEN_LENGTH 14
#define MAX_JOURNAL 9007199254740992   // 2^53

#define CODE_NO_ERROR 0
#define CODE_NO_RESULT 1
#define CODE_NO_CONNECTION 6
#define CODE_OFF_QUOTES 136
#define CODE_CONTEXT_BUSY 146
#define CODE_HISTORY_WILL_UPDATE 4066
#define CODE_UNKNOWN_SYMBOL 4106
#define CODE_TRADE_NOT_ALLOWED 4109

enum ENUM_STATE
  {
   STATE_NONE,       // not a trade, or nothing known yet
   STATE_STARTED,    // in the ledger only
   STATE_DONE,
   STATE_REJECTED,
   STATE_NOT_NOW,
   STATE_SEALED,
   STATE_IN_DOUBT,
   STATE_NOT_SEEN,
   STATE_FENCED
  };

string StateName(ENUM_STATE state)
  {
   switch(state)
     {
      case STATE_DONE:     return("done");
      case STATE_REJECTED: return("rejected");
      case STATE_NOT_NOW:  return("not_now");
      case STATE_SEALED:   return("sealed");
      case STATE_IN_DOUBT: return("in_doubt");
      case STATE_NOT_SEEN: return("not_seen");
      case STATE_FENCED:   return("fenced");
     }
   return("");
  }

// What a failed trade call proves. MQL4 Reference, trade server return codes; docs/protocol.md.
ENUM_STATE StateOfCode(int code)
  {
   switch(code)
     {
      case 135: case 136: case 138: case 146:
         return(STATE_NOT_NOW);
      case 3: case 5: case 7: case 8: case 64: case 65: case 140: case 141: case 144: case 145: case 4051:
         return(STATE_REJECTED);
     }
   if((code >= 129 && code <= 134) || (code >= 147 && code <= 150) || (code >= 4060 && code <= 4112))
      return(STATE_REJECTED);
   return(STATE_IN_DOUBT);
  }

// The texts that MetaTrader's own library gives: clients of the existing server read them.
string CodeText(int code)
  {
   switch(code)
     {
      case 0:    return("no error");
      case 1:    return("no error, trade conditions not changed");
      case 2:    return("common error");
      case 3:    return("invalid trade parameters");
      case 4:    return("trade server is busy");
      case 5:    return("old version of the client terminal");
      case 6:    return("no connection with trade server");
      case 7:    return("not enough rights");
      case 8:    return("too frequent requests");
      case 9:    return("malfunctional trade operation (never returned error)");
      case 64:   return("account disabled");
      case 65:   return("invalid account");
      case 128:  return("trade timeout");
      case 129:  return("invalid price");
      case 130:  return("invalid stops");
      case 131:  return("invalid trade volume");
      case 132:  return("market is closed");
      case 133:  return("trade is disabled");
      case 134:  return("not enough money");
      case 135:  return("price changed");
      case 136:  return("off quotes");
      case 137:  return("broker is busy (never returned error)");
      case 138:  return("requote");
      case 139:  return("order is locked");
      case 140:  return("long positions only allowed");
      case 141:  return("too many requests");
      case 145:  return("modification denied because order is too close to market");
      case 146:  return("trade context is busy");
      case 147:  return("expirations are denied by broker");
      case 148:  return("amount of open and pending orders has reached the limit");
      case 149:  return("hedging is prohibited");
      case 150:  return("prohibited by FIFO rules");
      case 4051: return("invalid function parameter value");
      case 4066: return("requested history data is in updating state");
      case 4106: return("unknown symbol");
      case 4107: return("invalid price parameter for trade function");
      case 4108: return("invalid ticket");
      case 4109: return("trade is not allowed in the expert properties");
      case 4110: return("longs are not allowed in the expert properties");
      case 4111: return("shorts are not allowed in the expert properties");
      case 4112: return("automated trading by Expert Advisors/Scripts disabled by trade server");
     }
   return("unknown error");
  }

// The existing server's three shapes of an error reply.
void WriteMessage(JsonWriter &body, string message)
  {
   body.AddText("error_message", message);
  }

void WriteCode(JsonWriter &body, int code)
  {
   body.AddInteger("error_code", code);
   body.AddText("error_code_description", CodeText(code));
  }

void WriteCodeAndMessage(JsonWriter &body, int code, string message)
  {
   WriteCode(body, code);
   WriteMessage(body, message);
  }

// One request: parameters are taken at their word. Each call that gives a value returns false,
// with the error reply written, if the parameter has another type; null counts as missing.
class Request
  {
private:
   bool              Refuse(JsonWriter &body, string key, string what) const;

public:
   JsonReader        json;

   bool              IsObject() const { return(json.Kind(0) == JSON_OBJECT); }
   int               Find(string key) const;
   bool              Has(string key) const { return(Find(key) >= 0); }
   bool              HasKey(string key) const { return(json.Find(0, key) >= 0); }
   string            TextOr(string key, string fallback) const;
   bool              IsText(string key) const;
   bool              Require(string key, JsonWriter &body) const;
   bool              ReadText(string key, string &value, JsonWriter &body) const;
   bool              ReadInteger(string key, int &value, JsonWriter &body) const;
   bool              ReadReal(string key, double &value, JsonWriter &body) const;
   bool              ReadBoolean(string key, bool &value, JsonWriter &body) const;
   bool              ReadNames(string key, string &names[], JsonWriter &body) const;
  };

int Request::Find(string key) const
  {
   int token = json.Find(0, key);
   return(token >= 0 && json.Kind(token) != JSON_NULL ? token : -1);
  }

string Request::TextOr(string key, string fallback) const
  {
   int token = Find(key);
   return(token >= 0 && json.Kind(token) == JSON_TEXT ? json.Text(token) : fallback);
  }

bool Request::IsText(string key) const
  {
   int token = Find(key);
   return(token >= 0 && json.Kind(token) == JSON_TEXT);
  }

bool Request::Refuse(JsonWriter &body, string key, string what) const
  {
   WriteMessage(body, "Param \"" + key + "\" is not " + what + ".");
   return(false);
  }

bool Request::Require(string key, JsonWriter &body) const
  {
   if(Has(key))
      return(true);
   WriteMessage(body, "Missing \"" + key + "\" param.");
   return(false);
  }

bool Request::ReadText(string key, string &value, JsonWriter &body) const
  {
   int token = Find(key);
   if(token < 0)
      return(true);
   if(json.Kind(token) != JSON_TEXT)
      return(Refuse(body, key, "a string"));
   value = json.Text(token);
   return(true);
  }

bool IsInt32(long number) { return(number >= -2147483648 && number <= 2147483647); }

bool Request::ReadInteger(string key, int &value, JsonWriter &body) const
  {
   int token = Find(key);
   if(token < 0)
      return(true);
   if(json.Kind(token) != JSON_INTEGER || !IsInt32(json.Integer(token)))
      return(Refuse(body, key, "an integer"));
   value = (int)json.Integer(token);
   return(true);
  }

bool Request::ReadReal(string key, double &value, JsonWriter &body) const
  {
   int token = Find(key);
   if(token < 0)
      return(true);
   if(json.Kind(token) != JSON_INTEGER && json.Kind(token) != JSON_REAL)
      return(Refuse(body, key, "a number"));
   value = json.Real(token);
   return(true);
  }

bool Request::ReadBoolean(string key, bool &value, JsonWriter &body) const
  {
   int token = Find(key);
   if(token < 0)
      return(true);
   if(json.Kind(token) != JSON_BOOLEAN)
      return(Refuse(body, key, "a boolean"));
   value = json.Boolean(token);
   return(true);
  }

// A required array of texts that is not empty.
bool Request::ReadNames(string key, string &names[], JsonWriter &body) const
  {
   if(!Require(key, body))
      return(false);
   int list = Find(key);
   if(json.Kind(list) != JSON_ARRAY)
      return(Refuse(body, key, "an array"));
   int size = json.Size(list);
   if(size == 0)
     {
      WriteMessage(body, "Param \"" + key + "[]\" is empty.");
      return(false);
     }
   ArrayResize(names, size);
   int filled = 0;
   for(int item = json.First(list); item >= 0; item = json.Next(list, item))
     {
      if(json.Kind(item) != JSON_TEXT)
         return(Refuse(body, key, "a string"));
      names[filled] = json.Text(item);
      filled++;
     }
   return(true);
  }

// What the bridge adds to a trade and to RESOLVE.
class BridgeKeys
  {
public:
   string            id;
   int               attempt;
   string            digest;
   string            session;
   long              epoch;
   long              seq;
   string            ledger;
   long              not_after;
   long              journal;

                     BridgeKeys() { attempt = 0; epoch = 0; seq = 0; not_after = 0; journal = 0; }
   bool              Read(const Request &request);
  };

// A request with any of these, be it null, is a gateway's; plain clients know none of them.
bool IsFromGateway(const Request &request)
  {
   return(request.HasKey("id") || request.HasKey("attempt") || request.HasKey("digest") || request.HasKey("session") ||
          request.HasKey("epoch") || request.HasKey("seq") || request.HasKey("ledger") || request.HasKey("not_after") ||
          request.HasKey("journal"));
  }

bool ReadLong(const Request &request, string key, long &value)
  {
   int token = request.Find(key);
   if(token < 0 || request.json.Kind(token) != JSON_INTEGER)
      return(false);
   value = request.json.Integer(token);
   return(true);
  }

bool IsHex(string text)
  {
   for(int i = 0; i < StringLen(text); i++)
      if(HexDigit(StringGetCharacter(text, i)) < 0)
         return(false);
   return(true);
  }

// `<client>/<id>`
bool IsCommandId(string text)
  {
   int slash = StringFind(text, "/");
   return(slash > 0 && slash < StringLen(text) - 1 && StringLen(text) <= MAX_ID_LENGTH);
  }

// Does a comment begin with a command's token: `~` and 13 characters of base32?
bool IsToken(string comment)
  {
   if(StringLen(comment) < TOKEN_LENGTH || StringGetCharacter(comment, 0) != '~')
      return(false);
   for(int i = 1; i < TOKEN_LENGTH; i++)
     {
      int c = StringGetCharacter(comment, i);
      if(!(c >= 'A' && c <= 'Z') && !(c >= '2' && c <= '7'))
         return(false);
     }
   return(true);
  }

bool ReadAttempt(const Request &request, int &attempt)
  {
   long number = 0;
   if(!ReadLong(request, "attempt", number) || number < 1 || !IsInt32(number))
      return(false);
   attempt = (int)number;
   return(true);
  }

// How far the gateway's journal has come: 0 where the key is missing, but not where it is null.
bool ReadJournal(const Request &request, long &journal)
  {
   long sequence = 0;
   if(request.HasKey("journal") && (!ReadLong(request, "journal", sequence) || sequence < 0 || sequence > MAX_JOURNAL))
      return(false);
   journal = sequence;
   return(true);
  }

// False if any key is missing or of a wrong type.
bool BridgeKeys::Read(const Request &request)
  {
   long number = 0;
   id = request.TextOr("id", "");
   digest = request.TextOr("digest", "");
   session = request.TextOr("session", "");
   ledger = request.TextOr("ledger", "");
   if(!IsCommandId(id) || !request.IsText("session") || !request.IsText("ledger"))
      return(false);
   if(StringLen(digest) != DIGEST_LENGTH || !IsHex(digest))
      return(false);
   int count = 0;
   if(!ReadAttempt(request, count))
      return(false);
   attempt = count;
   if(!ReadLong(request, "epoch", number))
      return(false);
   epoch = number;
   if(!ReadLong(request, "seq", number))
      return(false);
   seq = number;
   if(!ReadLong(request, "not_after", number))
      return(false);
   not_after = number;
   if(!ReadJournal(request, number))
      return(false);
   journal = number;
   return(true);
  }

#endif

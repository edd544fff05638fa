// The reading actions: those of the existing server, with its replies, and the bridge's own.
#ifndef MT4GATEWAY_QUERIES_MQH
#define MT4GATEWAY_QUERIES_MQH

#include <Mt4Gateway/Clock.mqh>
#include <Mt4Gateway/Orders.mqh>
#include <Mt4Gateway/Protocol.mqh>

// What a query's answer is: written, not one of ours, or not to be had yet (ask again).
enum ENUM_ANSWER
  {
   ANSWER_GIVEN,
   ANSWER_UNKNOWN,
   ANSWER_PENDING
  };

#define PROPERTY_IDS 256
#define RETRY_MS 100   // a shorter timeout gives the existing server no try at all

bool SelectSymbol(string symbol, JsonWriter &body)
  {
   ResetLastError();
   if(SymbolSelect(symbol, true))
      return(true);
   WriteCodeAndMessage(body, GetLastError(), symbol);
   return(false);
  }

ENUM_ANSWER WriteTimeout(JsonWriter &body, string message)
  {
   WriteMessage(body, message);
   return(ANSWER_GIVEN);
  }

// Does an earlier name equal this one?
bool IsRepeated(const string &names[], int at)
  {
   for(int i = 0; i < at; i++)
      if(names[i] == names[at])
         return(true);
   return(false);
  }

bool ReadRequired(const Request &request, string key, string &value, JsonWriter &body)
  {
   return(request.Require(key, body) && request.ReadText(key, value, body));
  }

bool ReadRequiredInteger(const Request &request, string key, int &value, JsonWriter &body)
  {
   return(request.Require(key, body) && request.ReadInteger(key, value, body));
  }

// ---- account ------------------------------------------------------------------------------------

void WriteAccount(JsonWriter &body)
  {
   body.BeginObject();
   body.AddInteger("login", AccountInfoInteger(ACCOUNT_LOGIN));
   body.AddInteger("trade_mode", AccountInfoInteger(ACCOUNT_TRADE_MODE));
   body.Key("name");
   body.TextOrNull(AccountInfoString(ACCOUNT_NAME));
   body.Key("server");
   body.TextOrNull(AccountInfoString(ACCOUNT_SERVER));
   body.Key("currency");
   body.TextOrNull(AccountInfoString(ACCOUNT_CURRENCY));
   body.Key("company");
   body.TextOrNull(AccountInfoString(ACCOUNT_COMPANY));
   body.EndObject();
  }

enum ENUM_PROPERTY
  {
   PROPERTY_ACCOUNT_INTEGER,
   PROPERTY_ACCOUNT_DOUBLE,
   PROPERTY_SYMBOL_INTEGER,
   PROPERTY_SYMBOL_DOUBLE,
   PROPERTY_SYMBOL_STRING,
   PROPERTY_MARKET
  };

string PropertyName(ENUM_PROPERTY kind, int id)
  {
   switch(kind)
     {
      case PROPERTY_ACCOUNT_INTEGER: return(EnumToString((ENUM_ACCOUNT_INFO_INTEGER)id));
      case PROPERTY_ACCOUNT_DOUBLE:  return(EnumToString((ENUM_ACCOUNT_INFO_DOUBLE)id));
      case PROPERTY_SYMBOL_INTEGER:  return(EnumToString((ENUM_SYMBOL_INFO_INTEGER)id));
      case PROPERTY_SYMBOL_DOUBLE:   return(EnumToString((ENUM_SYMBOL_INFO_DOUBLE)id));
      case PROPERTY_SYMBOL_STRING:   return(EnumToString((ENUM_SYMBOL_INFO_STRING)id));
     }
   return(EnumToString((ENUM_MARKETINFO)id));
  }

string PropertyKind(ENUM_PROPERTY kind)
  {
   switch(kind)
     {
      case PROPERTY_ACCOUNT_INTEGER: return("account integer");
      case PROPERTY_ACCOUNT_DOUBLE:  return("account double");
      case PROPERTY_SYMBOL_INTEGER:  return("symbol integer");
      case PROPERTY_SYMBOL_DOUBLE:   return("symbol double");
      case PROPERTY_SYMBOL_STRING:   return("symbol string");
     }
   return("market info");
  }

// The number of a property by its name, -1 if there is none.
int PropertyId(ENUM_PROPERTY kind, string name)
  {
   if(StringFind(name, "::") >= 0)
      return(-1);
   if(kind == PROPERTY_ACCOUNT_DOUBLE && name == "ACCOUNT_FREEMARGIN")
      return(ACCOUNT_MARGIN_FREE);   // the older name
   for(int id = 0; id < PROPERTY_IDS; id++)
      if(PropertyName(kind, id) == name)
         return(id);
   return(-1);
  }

// `property_name` comes before `property_id`.
bool ReadProperty(const Request &request, ENUM_PROPERTY kind, int &id, JsonWriter &body)
  {
   string name = "";
   if(!request.Has("property_name") && !request.Has("property_id"))
     {
      WriteMessage(body, "Must include either \"property_name\" or \"property_id\" param.");
      return(false);
     }
   if(!request.Has("property_name"))
      return(request.ReadInteger("property_id", id, body));
   if(!request.ReadText("property_name", name, body))
      return(false);
   id = PropertyId(kind, name);
   if(id < 0)
      WriteMessage(body, "Unrecognized " + PropertyKind(kind) + " property: " + name);
   return(id >= 0);
  }

ENUM_ANSWER AnswerAccountProperty(const Request &request, ENUM_PROPERTY kind, JsonWriter &body)
  {
   int id = 0;
   if(!ReadProperty(request, kind, id, body))
      return(ANSWER_GIVEN);
   if(kind == PROPERTY_ACCOUNT_INTEGER)
      body.AddInteger("response", AccountInfoInteger((ENUM_ACCOUNT_INFO_INTEGER)id));
   else
      body.AddReal("response", AccountInfoDouble((ENUM_ACCOUNT_INFO_DOUBLE)id));
   return(ANSWER_GIVEN);
  }

// ---- symbols ------------------------------------------------------------------------------------

ENUM_ANSWER AnswerSymbols(JsonWriter &body)
  {
   int total = SymbolsTotal(false);
   if(total <= 0)
      return(ANSWER_GIVEN);   // the existing server leaves an empty `response` out
   body.Key("response");
   body.BeginArray();
   for(int i = 0; i < total; i++)
      body.Text(SymbolName(i, false));
   body.EndArray();
   return(ANSWER_GIVEN);
  }

void WriteSymbol(string name, JsonWriter &body)
  {
   body.Key(name);
   body.BeginObject();
   body.AddText("name", name);
   body.AddReal("point", SymbolInfoDouble(name, SYMBOL_POINT));
   body.AddInteger("digits", SymbolInfoInteger(name, SYMBOL_DIGITS));
   body.AddReal("volume_min", SymbolInfoDouble(name, SYMBOL_VOLUME_MIN));
   body.AddReal("volume_step", SymbolInfoDouble(name, SYMBOL_VOLUME_STEP));
   body.AddReal("volume_max", SymbolInfoDouble(name, SYMBOL_VOLUME_MAX));
   body.AddReal("trade_contract_size", SymbolInfoDouble(name, SYMBOL_TRADE_CONTRACT_SIZE));
   body.AddReal("trade_tick_value", SymbolInfoDouble(name, SYMBOL_TRADE_TICK_VALUE));
   body.AddReal("trade_tick_size", SymbolInfoDouble(name, SYMBOL_TRADE_TICK_SIZE));
   body.AddInteger("trade_stops_level", SymbolInfoInteger(name, SYMBOL_TRADE_STOPS_LEVEL));
   body.AddInteger("trade_freeze_level", SymbolInfoInteger(name, SYMBOL_TRADE_FREEZE_LEVEL));
   body.EndObject();
  }

// One unknown name fails the whole request.
ENUM_ANSWER AnswerSymbolInfo(const Request &request, JsonWriter &body)
  {
   string names[];
   if(!request.ReadNames("names", names, body))
      return(ANSWER_GIVEN);
   int count = ArraySize(names);
   for(int i = 0; i < count; i++)
      if(!SelectSymbol(names[i], body))
         return(ANSWER_GIVEN);
   body.Key("response");
   body.BeginObject();
   for(int i = 0; i < count; i++)
      if(!IsRepeated(names, i))
         WriteSymbol(names[i], body);
   body.EndObject();
   return(ANSWER_GIVEN);
  }

ENUM_ANSWER AnswerMarketInfo(const Request &request, JsonWriter &body)
  {
   string symbol = "";
   string name = "";
   if(!ReadRequired(request, "symbol", symbol, body) || !ReadRequired(request, "property", name, body))
      return(ANSWER_GIVEN);
   if(!SelectSymbol(symbol, body))
      return(ANSWER_GIVEN);
   int id = PropertyId(PROPERTY_MARKET, name);
   if(id < 0)
      WriteMessage(body, "Unrecognized market info property: " + name);
   else
      body.AddReal("response", MarketInfo(symbol, (ENUM_MARKETINFO)id));
   return(ANSWER_GIVEN);
  }

bool WriteSymbolProperty(string symbol, ENUM_PROPERTY kind, int id, JsonWriter &body)
  {
   long whole = 0;
   double real = 0.0;
   string text = "";
   if(kind == PROPERTY_SYMBOL_INTEGER)
     {
      if(!SymbolInfoInteger(symbol, (ENUM_SYMBOL_INFO_INTEGER)id, whole))
         return(false);
      body.AddInteger("response", whole);
      return(true);
     }
   if(kind == PROPERTY_SYMBOL_DOUBLE)
     {
      if(!SymbolInfoDouble(symbol, (ENUM_SYMBOL_INFO_DOUBLE)id, real))
         return(false);
      body.AddReal("response", real);
      return(true);
     }
   if(!SymbolInfoString(symbol, (ENUM_SYMBOL_INFO_STRING)id, text))
      return(false);
   body.Key("response");
   body.TextOrNull(text);
   return(true);
  }

ENUM_ANSWER AnswerSymbolProperty(const Request &request, ENUM_PROPERTY kind, JsonWriter &body)
  {
   string symbol = "";
   int id = 0;
   if(!ReadRequired(request, "symbol", symbol, body) || !ReadProperty(request, kind, id, body))
      return(ANSWER_GIVEN);
   ResetLastError();
   if(!WriteSymbolProperty(symbol, kind, id, body))
      WriteCode(body, GetLastError());
   return(ANSWER_GIVEN);
  }

ENUM_ANSWER AnswerTick(const Request &request, JsonWriter &body)
  {
   string symbol = "";
   MqlTick tick;
   if(!ReadRequired(request, "symbol", symbol, body) || !SelectSymbol(symbol, body))
      return(ANSWER_GIVEN);
   ResetLastError();
   if(!SymbolInfoTick(symbol, tick))
     {
      WriteCode(body, GetLastError());
      return(ANSWER_GIVEN);
     }
   body.Key("response");
   body.BeginObject();
   body.AddInteger("time", (long)tick.time);
   body.AddReal("bid", tick.bid);
   body.AddReal("ask", tick.ask);
   body.AddReal("last", tick.last);
   body.AddInteger("volume", (long)tick.volume);
   body.EndObject();
   return(ANSWER_GIVEN);
  }

// ---- bars and indicators ------------------------------------------------------------------------

bool IsTimeframe(int minutes)
  {
   return(minutes == 0 || minutes == 1 || minutes == 5 || minutes == 15 || minutes == 30 || minutes == 60 ||
          minutes == 240 || minutes == 1440 || minutes == 10080 || minutes == 43200);
  }

void WriteBars(const MqlRates &rates[], int count, JsonWriter &body)
  {
   if(count == 0)
      return;
   body.Key("response");
   body.BeginArray();
   for(int i = 0; i < count; i++)
     {
      body.BeginObject();
      body.AddInteger("time", (long)rates[i].time);
      body.AddReal("open", rates[i].open);
      body.AddReal("high", rates[i].high);
      body.AddReal("low", rates[i].low);
      body.AddReal("close", rates[i].close);
      body.AddInteger("tick_volume", rates[i].tick_volume);
      body.EndObject();
     }
   body.EndArray();
  }

// The oldest bar first. History that is not loaded is asked for again by the next timer event.
ENUM_ANSWER AnswerBars(const Request &request, JsonWriter &body)
  {
   string symbol = "";
   int timeframe = 0;
   int limit = 0;
   int timeout = 0;
   MqlRates rates[];
   if(!ReadRequired(request, "symbol", symbol, body) || !ReadRequiredInteger(request, "timeframe", timeframe, body))
      return(ANSWER_GIVEN);
   if(!ReadRequiredInteger(request, "limit", limit, body) || !ReadRequiredInteger(request, "timeout", timeout, body))
      return(ANSWER_GIVEN);
   if(!SelectSymbol(symbol, body))
      return(ANSWER_GIVEN);
   if(!IsTimeframe(timeframe) || limit <= 0 || timeout < RETRY_MS)
      return(WriteTimeout(body, "Timed out waiting for OHLCV data."));
   ArraySetAsSeries(rates, false);
   int count = CopyRates(symbol, (ENUM_TIMEFRAMES)timeframe, TimeCurrent(), limit, rates);
   if(count < 0)
      return(ANSWER_PENDING);
   WriteBars(rates, count, body);
   return(ANSWER_GIVEN);
  }

// The arguments of an indicator in the order of its MQL4 call: a symbol, then numbers.
class IndicatorArguments
  {
public:
   string            symbol;
   int               n[12];
   double            r[12];

   bool              Read(const Request &request, int count, int real_mask, JsonWriter &body);
  };

bool RefuseArgument(int at, string what, JsonWriter &body)
  {
   WriteMessage(body, "Param \"" + IntegerToString(at) + "\" is not " + what + ".");
   return(false);
  }

// `real_mask` has a bit for each argument that need not be whole.
bool IndicatorArguments::Read(const Request &request, int count, int real_mask, JsonWriter &body)
  {
   int list = request.Find("argv");
   if(request.json.Kind(list) != JSON_ARRAY)
     {
      WriteMessage(body, "Param \"argv\" is not an array.");
      return(false);
     }
   int item = request.json.First(list);
   for(int i = 0; i < count; i++)
     {
      if(item < 0 || request.json.Kind(item) == JSON_NULL)
        {
         WriteMessage(body, "Missing \"" + IntegerToString(i) + "\" param.");
         return(false);
        }
      ENUM_JSON kind = request.json.Kind(item);
      bool is_real = ((real_mask >> i) & 1) != 0;
      if(i == 0 && kind != JSON_TEXT)
         return(RefuseArgument(i, "a string", body));
      if(i > 0 && is_real && kind != JSON_INTEGER && kind != JSON_REAL)
         return(RefuseArgument(i, "a number", body));
      if(i > 0 && !is_real && (kind != JSON_INTEGER || !IsInt32(request.json.Integer(item))))
         return(RefuseArgument(i, "an integer", body));
      if(i == 0)
         symbol = request.json.Text(item);
      else
        {
         r[i] = request.json.Real(item);
         n[i] = is_real ? 0 : (int)request.json.Integer(item);
        }
      item = request.json.Next(list, item);
     }
   return(true);
  }

// How many arguments an indicator takes, 0 if we do not know it.
int IndicatorSize(string name)
  {
   string sizes = " iAC=3 iAD=3 iAO=3 iBWMFI=3 iATR=4 iDeMarker=4 iFractals=4 iMFI=4 iOBV=4 iWPR=4 iBearsPower=5 iBullsPower=5 iCCI=5 iMomentum=5 iRSI=5 iRVI=5 iSAR=5 iADX=6 iForce=6 iIchimoku=7 iMA=7 iOsMA=7 iStdDev=7 iMACD=8 iBands=8 iStochastic=9 iEnvelopes=9 iAlligator=12 iGator=12 ";
   int at = StringFind(sizes, " " + name + "=");
   if(at < 0 || StringFind(name, " ") >= 0 || StringFind(name, "=") >= 0)
      return(0);
   int digits = at + StringLen(name) + 2;
   int end = StringFind(sizes, " ", digits);
   return((int)StringToInteger(StringSubstr(sizes, digits, end - digits)));
  }

int IndicatorRealMask(string name)
  {
   if(name == "iBands") return(1 << 3);
   if(name == "iSAR") return((1 << 2) | (1 << 3));
   if(name == "iEnvelopes") return(1 << 6);
   return(0);
  }

double SmallIndicator(string name, const IndicatorArguments &a)
  {
   if(name == "iAC") return(iAC(a.symbol, a.n[1], a.n[2]));
   if(name == "iAD") return(iAD(a.symbol, a.n[1], a.n[2]));
   if(name == "iAO") return(iAO(a.symbol, a.n[1], a.n[2]));
   if(name == "iBWMFI") return(iBWMFI(a.symbol, a.n[1], a.n[2]));
   if(name == "iATR") return(iATR(a.symbol, a.n[1], a.n[2], a.n[3]));
   if(name == "iDeMarker") return(iDeMarker(a.symbol, a.n[1], a.n[2], a.n[3]));
   if(name == "iFractals") return(iFractals(a.symbol, a.n[1], a.n[2], a.n[3]));
   if(name == "iMFI") return(iMFI(a.symbol, a.n[1], a.n[2], a.n[3]));
   if(name == "iOBV") return(iOBV(a.symbol, a.n[1], a.n[2], a.n[3]));
   return(iWPR(a.symbol, a.n[1], a.n[2], a.n[3]));
  }

double MiddleIndicator(string name, const IndicatorArguments &a)
  {
   if(name == "iBearsPower") return(iBearsPower(a.symbol, a.n[1], a.n[2], a.n[3], a.n[4]));
   if(name == "iBullsPower") return(iBullsPower(a.symbol, a.n[1], a.n[2], a.n[3], a.n[4]));
   if(name == "iCCI") return(iCCI(a.symbol, a.n[1], a.n[2], a.n[3], a.n[4]));
   if(name == "iMomentum") return(iMomentum(a.symbol, a.n[1], a.n[2], a.n[3], a.n[4]));
   if(name == "iRSI") return(iRSI(a.symbol, a.n[1], a.n[2], a.n[3], a.n[4]));
   if(name == "iRVI") return(iRVI(a.symbol, a.n[1], a.n[2], a.n[3], a.n[4]));
   if(name == "iSAR") return(iSAR(a.symbol, a.n[1], a.r[2], a.r[3], a.n[4]));
   if(name == "iADX") return(iADX(a.symbol, a.n[1], a.n[2], a.n[3], a.n[4], a.n[5]));
   return(iForce(a.symbol, a.n[1], a.n[2], a.n[3], a.n[4], a.n[5]));
  }

double LargeIndicator(string name, const IndicatorArguments &a)
  {
   if(name == "iIchimoku") return(iIchimoku(a.symbol, a.n[1], a.n[2], a.n[3], a.n[4], a.n[5], a.n[6]));
   if(name == "iMA") return(iMA(a.symbol, a.n[1], a.n[2], a.n[3], a.n[4], a.n[5], a.n[6]));
   if(name == "iOsMA") return(iOsMA(a.symbol, a.n[1], a.n[2], a.n[3], a.n[4], a.n[5], a.n[6]));
   if(name == "iStdDev") return(iStdDev(a.symbol, a.n[1], a.n[2], a.n[3], a.n[4], a.n[5], a.n[6]));
   if(name == "iMACD") return(iMACD(a.symbol, a.n[1], a.n[2], a.n[3], a.n[4], a.n[5], a.n[6], a.n[7]));
   if(name == "iBands") return(iBands(a.symbol, a.n[1], a.n[2], a.r[3], a.n[4], a.n[5], a.n[6], a.n[7]));
   if(name == "iStochastic") return(iStochastic(a.symbol, a.n[1], a.n[2], a.n[3], a.n[4], a.n[5], a.n[6], a.n[7], a.n[8]));
   if(name == "iEnvelopes") return(iEnvelopes(a.symbol, a.n[1], a.n[2], a.n[3], a.n[4], a.n[5], a.r[6], a.n[7], a.n[8]));
   if(name == "iAlligator") return(iAlligator(a.symbol, a.n[1], a.n[2], a.n[3], a.n[4], a.n[5], a.n[6], a.n[7], a.n[8], a.n[9], a.n[10], a.n[11]));
   return(iGator(a.symbol, a.n[1], a.n[2], a.n[3], a.n[4], a.n[5], a.n[6], a.n[7], a.n[8], a.n[9], a.n[10], a.n[11]));
  }

ENUM_ANSWER AnswerIndicator(const Request &request, JsonWriter &body)
  {
   string name = "";
   int timeout = 0;
   IndicatorArguments arguments;
   if(!ReadRequired(request, "indicator", name, body) || !request.Require("argv", body))
      return(ANSWER_GIVEN);
   if(!ReadRequiredInteger(request, "timeout", timeout, body))
      return(ANSWER_GIVEN);
   if(timeout < RETRY_MS)
      return(WriteTimeout(body, "Timed out waiting for indicator data to load."));
   int size = IndicatorSize(name);
   if(size == 0)
     {
      WriteMessage(body, "Indicator not recognized: " + name + ".");
      return(ANSWER_GIVEN);
     }
   if(!arguments.Read(request, size, IndicatorRealMask(name), body))
      return(ANSWER_GIVEN);
   ResetLastError();
   double value = size <= 4 ? SmallIndicator(name, arguments) : (size <= 6 ? MiddleIndicator(name, arguments) : LargeIndicator(name, arguments));
   int code = GetLastError();
   if(code == CODE_HISTORY_WILL_UPDATE)
      return(ANSWER_PENDING);
   if(code != CODE_NO_ERROR)
      WriteCode(body, code);
   else
      body.AddReal("response", value);
   return(ANSWER_GIVEN);
  }

// ---- signals ------------------------------------------------------------------------------------

ENUM_ANSWER AnswerSignals(JsonWriter &body)
  {
   int total = SignalBaseTotal();
   string names[];
   if(total <= 0)
      return(ANSWER_GIVEN);
   ArrayResize(names, total);
   for(int i = 0; i < total; i++)
     {
      ResetLastError();
      if(!SignalBaseSelect(i))
        {
         WriteCode(body, GetLastError());
         return(ANSWER_GIVEN);
        }
      names[i] = SignalBaseGetString(SIGNAL_BASE_NAME);
     }
   body.Key("response");
   body.BeginArray();
   for(int i = 0; i < total; i++)
      body.Text(names[i]);
   body.EndArray();
   return(ANSWER_GIVEN);
  }

void AddSignalText(JsonWriter &body, string key, ENUM_SIGNAL_BASE_STRING property)
  {
   body.Key(key);
   body.TextOrNull(SignalBaseGetString(property));
  }

// The selected signal.
void WriteSignal(string name, JsonWriter &body)
  {
   body.Key(name);
   body.BeginObject();
   AddSignalText(body, "author_login", SIGNAL_BASE_AUTHOR_LOGIN);
   AddSignalText(body, "broker", SIGNAL_BASE_BROKER);
   AddSignalText(body, "broker_server", SIGNAL_BASE_BROKER_SERVER);
   body.AddText("name", name);
   AddSignalText(body, "currency", SIGNAL_BASE_CURRENCY);
   body.AddInteger("date_published", SignalBaseGetInteger(SIGNAL_BASE_DATE_PUBLISHED));
   body.AddInteger("date_started", SignalBaseGetInteger(SIGNAL_BASE_DATE_STARTED));
   body.AddInteger("id", SignalBaseGetInteger(SIGNAL_BASE_ID));
   body.AddInteger("leverage", SignalBaseGetInteger(SIGNAL_BASE_LEVERAGE));
   body.AddInteger("pips", SignalBaseGetInteger(SIGNAL_BASE_PIPS));
   body.AddInteger("rating", SignalBaseGetInteger(SIGNAL_BASE_RATING));
   body.AddInteger("subscribers", SignalBaseGetInteger(SIGNAL_BASE_SUBSCRIBERS));
   body.AddInteger("trades", SignalBaseGetInteger(SIGNAL_BASE_TRADES));
   body.AddInteger("trade_mode", SignalBaseGetInteger(SIGNAL_BASE_TRADE_MODE));
   body.AddReal("balance", SignalBaseGetDouble(SIGNAL_BASE_BALANCE));
   body.AddReal("equity", SignalBaseGetDouble(SIGNAL_BASE_EQUITY));
   body.AddReal("gain", SignalBaseGetDouble(SIGNAL_BASE_GAIN));
   body.AddReal("max_drawdown", SignalBaseGetDouble(SIGNAL_BASE_MAX_DRAWDOWN));
   body.AddReal("price", SignalBaseGetDouble(SIGNAL_BASE_PRICE));
   body.AddReal("roi", SignalBaseGetDouble(SIGNAL_BASE_ROI));
   body.EndObject();
  }

int IndexOf(const string &names[], string name)
  {
   for(int i = 0; i < ArraySize(names); i++)
      if(names[i] == name)
         return(i);
   return(-1);
  }

void WriteSignalsNotFound(const string &names[], const bool &is_found[], JsonWriter &body)
  {
   string list = "";
   for(int i = 0; i < ArraySize(names); i++)
      if(!is_found[i])
        {
         if(list != "")
            list += ",";
         list += "\"" + names[i] + "\"";
        }
   WriteMessage(body, "Signals not found: [" + list + "]");
  }

// One unknown name fails the whole request.
ENUM_ANSWER AnswerSignalInfo(const Request &request, JsonWriter &body)
  {
   string names[];
   bool is_found[];
   JsonWriter signals;
   if(!request.ReadNames("names", names, body))
      return(ANSWER_GIVEN);
   int missing = ArraySize(names);
   ArrayResize(is_found, missing);
   ArrayInitialize(is_found, false);
   for(int i = 0; i < SignalBaseTotal(); i++)
     {
      string name = SignalBaseSelect(i) ? SignalBaseGetString(SIGNAL_BASE_NAME) : "";
      int first = IndexOf(names, name);
      if(first < 0 || is_found[first])
         continue;
      WriteSignal(name, signals);
      for(int k = first; k < ArraySize(names); k++)
         if(names[k] == name)
           {
            is_found[k] = true;
            missing--;
           }
     }
   if(missing > 0)
     {
      WriteSignalsNotFound(names, is_found, body);
      return(ANSWER_GIVEN);
     }
   body.Key("response");
   body.BeginObject();
   body.Members(signals.bytes, 0, signals.length);
   body.EndObject();
   return(ANSWER_GIVEN);
  }

// ---- orders -------------------------------------------------------------------------------------

ENUM_ANSWER AnswerOrder(const Request &request, JsonWriter &body)
  {
   int ticket = 0;
   if(!ReadRequiredInteger(request, "ticket", ticket, body))
      return(ANSWER_GIVEN);
   if(!WriteOrder(ticket, body))
      WriteMessage(body, "Order # " + IntegerToString(ticket) + " is not found in the Trades or Account History tabs.");
   return(ANSWER_GIVEN);
  }

// The newest first. An order that vanishes while the list is read fails the request, as it does in
// the existing server; what was written is taken back.
ENUM_ANSWER AnswerOrders(int pool, JsonWriter &body)
  {
   JsonWriter orders;
   int total = pool == MODE_TRADES ? OrdersTotal() : OrdersHistoryTotal();
   if(total <= 0)
      return(ANSWER_GIVEN);
   orders.Key("response");
   orders.BeginArray();
   for(int i = total - 1; i >= 0; i--)
     {
      ResetLastError();
      if(!OrderSelect(i, SELECT_BY_POS, pool))
        {
         WriteCodeAndMessage(body, GetLastError(), "Failed to select order # " + IntegerToString(i) + ".");
         return(ANSWER_GIVEN);
        }
      WriteSelectedOrder(orders);
     }
   orders.EndArray();
   body.Members(orders.bytes, 0, orders.length);
   return(ANSWER_GIVEN);
  }

// ---- all of them --------------------------------------------------------------------------------

ENUM_ANSWER AnswerAccount(string action, const Request &request, JsonWriter &body)
  {
   if(action == "GET_ACCOUNT_INFO")
     {
      body.Key("response");
      WriteAccount(body);
      return(ANSWER_GIVEN);
     }
   if(action == "GET_ACCOUNT_INFO_INTEGER")
      return(AnswerAccountProperty(request, PROPERTY_ACCOUNT_INTEGER, body));
   if(action == "GET_ACCOUNT_INFO_DOUBLE")
      return(AnswerAccountProperty(request, PROPERTY_ACCOUNT_DOUBLE, body));
   if(action == "GET_ORDER")
      return(AnswerOrder(request, body));
   if(action == "GET_ORDERS")
      return(AnswerOrders(MODE_TRADES, body));
   if(action == "GET_HISTORICAL_ORDERS")
      return(AnswerOrders(MODE_HISTORY, body));
   return(ANSWER_UNKNOWN);
  }

ENUM_ANSWER AnswerMarket(string action, const Request &request, JsonWriter &body)
  {
   if(action == "GET_SYMBOLS")
      return(AnswerSymbols(body));
   if(action == "GET_SYMBOL_INFO")
      return(AnswerSymbolInfo(request, body));
   if(action == "GET_SYMBOL_MARKET_INFO")
      return(AnswerMarketInfo(request, body));
   if(action == "GET_SYMBOL_INFO_INTEGER")
      return(AnswerSymbolProperty(request, PROPERTY_SYMBOL_INTEGER, body));
   if(action == "GET_SYMBOL_INFO_DOUBLE")
      return(AnswerSymbolProperty(request, PROPERTY_SYMBOL_DOUBLE, body));
   if(action == "GET_SYMBOL_INFO_STRING")
      return(AnswerSymbolProperty(request, PROPERTY_SYMBOL_STRING, body));
   if(action == "GET_SYMBOL_TICK")
      return(AnswerTick(request, body));
   if(action == "GET_OHLCV")
      return(AnswerBars(request, body));
   if(action == "GET_SIGNALS")
      return(AnswerSignals(body));
   if(action == "GET_SIGNAL_INFO")
      return(AnswerSignalInfo(request, body));
   if(action == "RUN_INDICATOR")
      return(AnswerIndicator(request, body));
   return(ANSWER_UNKNOWN);
  }

// Answer one of the existing server's reading actions.
ENUM_ANSWER AnswerQuery(string action, const Request &request, JsonWriter &body)
  {
   ENUM_ANSWER answer = AnswerAccount(action, request, body);
   return(answer == ANSWER_UNKNOWN ? AnswerMarket(action, request, body) : answer);
  }

bool IsQuery(string action)
  {
   string names = " GET_ACCOUNT_INFO GET_ACCOUNT_INFO_INTEGER GET_ACCOUNT_INFO_DOUBLE GET_ORDER GET_ORDERS GET_HISTORICAL_ORDERS GET_SYMBOLS GET_SYMBOL_INFO GET_SYMBOL_MARKET_INFO GET_SYMBOL_INFO_INTEGER GET_SYMBOL_INFO_DOUBLE GET_SYMBOL_INFO_STRING GET_SYMBOL_TICK GET_OHLCV GET_SIGNALS GET_SIGNAL_INFO RUN_INDICATOR ";
   return(StringFind(action, " ") < 0 && StringFind(names, " " + action + " ") >= 0);
  }

#endif

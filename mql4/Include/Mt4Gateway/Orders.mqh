// Trades: parameters checked before anything is written down, then one trade call.
//
// Nothing is rounded, nudged or retried: what does not fit is refused by the check or the broker,
// and a code that means "nothing ran" goes back as not_now. Only the gateway decides to try again.
#ifndef MT4GATEWAY_ORDERS_MQH
#define MT4GATEWAY_ORDERS_MQH

#include <Mt4Gateway/Protocol.mqh>

// This program's own limits, its inputs; 0 and "" mean none.
struct TradeLimits
  {
   bool              allow_trading;
   double            max_lots_per_order;
   int               max_open_orders;
   double            max_open_lots;
   string            symbols;        // a name between commas: ",EURUSD,GBPUSD,"
  };

enum ENUM_TRADE
  {
   TRADE_NONE,
   TRADE_SEND,
   TRADE_MODIFY,
   TRADE_CLOSE,
   TRADE_DELETE,
   TRADE_CLOSE_ALL
  };

ENUM_TRADE TradeOfAction(string action)
  {
   if(action == "DO_ORDER_SEND") return(TRADE_SEND);
   if(action == "DO_ORDER_MODIFY") return(TRADE_MODIFY);
   if(action == "DO_ORDER_CLOSE") return(TRADE_CLOSE);
   if(action == "DO_ORDER_DELETE") return(TRADE_DELETE);
   if(action == "DO_CLOSE_ALL") return(TRADE_CLOSE_ALL);
   return(TRADE_NONE);
  }

// Permission alone: IsTradeAllowed() is also false while another program holds the trade thread.
bool MayTrade() { return(IsTradeAllowed() || IsTradeContextBusy()); }

bool IsMarketType(int type) { return(type == OP_BUY || type == OP_SELL); }
bool IsPendingType(int type) { return(type >= OP_BUYLIMIT && type <= OP_SELLSTOP); }
bool IsBuying(int type) { return(type == OP_BUY || type == OP_BUYLIMIT || type == OP_BUYSTOP); }

double OpeningPrice(string symbol, int type)
  {
   return(MarketInfo(symbol, IsBuying(type) ? MODE_ASK : MODE_BID));
  }

double ClosingPrice(string symbol, int type)
  {
   return(MarketInfo(symbol, IsBuying(type) ? MODE_BID : MODE_ASK));
  }

// Twice the spread, in points, as the existing server; 0 while the symbol has no data.
int DefaultSlippage(string symbol)
  {
   double point = MarketInfo(symbol, MODE_POINT);
   if(point <= 0.0)
      return(0);
   return((int)MathRound(2.0 * MathAbs(MarketInfo(symbol, MODE_ASK) - MarketInfo(symbol, MODE_BID)) / point));
  }

// ---- replies ------------------------------------------------------------------------------------

// "Never" is the beginning of 1970, as the existing server writes it.
string BrokerTimeText(datetime time) { return(TimeToString(time, TIME_DATE | TIME_SECONDS)); }

// The selected order, keys in the order of the existing server.
void WriteSelectedOrder(JsonWriter &body)
  {
   body.BeginObject();
   body.AddInteger("ticket", OrderTicket());
   body.AddInteger("magic_number", OrderMagicNumber());
   body.Key("symbol");
   body.TextOrNull(OrderSymbol());
   body.AddInteger("order_type", OrderType());
   body.AddReal("lots", OrderLots());
   body.AddReal("open_price", OrderOpenPrice());
   body.AddReal("close_price", OrderClosePrice());
   body.AddText("open_time", BrokerTimeText(OrderOpenTime()));
   body.AddText("close_time", BrokerTimeText(OrderCloseTime()));
   body.AddText("expiration", BrokerTimeText(OrderExpiration()));
   body.AddReal("sl", OrderStopLoss());
   body.AddReal("tp", OrderTakeProfit());
   body.AddReal("profit", OrderProfit());
   body.AddReal("commission", OrderCommission());
   body.AddReal("swap", OrderSwap());
   body.Key("comment");
   body.TextOrNull(OrderComment());
   body.EndObject();
  }

// Selecting by ticket ignores the pool: it finds open, pending and closed orders.
bool SelectTicket(int ticket) { return(OrderSelect(ticket, SELECT_BY_TICKET)); }

bool WriteOrder(int ticket, JsonWriter &body)
  {
   if(!SelectTicket(ticket))
      return(false);
   body.Key("response");
   WriteSelectedOrder(body);
   return(true);
  }

// ---- finding an order by its token --------------------------------------------------------------

int FindInPool(string token, int pool, int &tickets[])
  {
   int total = pool == MODE_TRADES ? OrdersTotal() : OrdersHistoryTotal();
   for(int i = total - 1; i >= 0; i--)
     {
      if(!OrderSelect(i, SELECT_BY_POS, pool) || StringFind(OrderComment(), token) != 0)
         continue;
      int count = ArraySize(tickets);
      ArrayResize(tickets, count + 1);
      tickets[count] = OrderTicket();
     }
   return(ArraySize(tickets));
  }

// The tickets of all orders, open or closed, whose comment begins with the token.
int FindByToken(string token, int &tickets[])
  {
   ArrayFree(tickets);
   if(token == "")
      return(0);
   FindInPool(token, MODE_TRADES, tickets);
   return(FindInPool(token, MODE_HISTORY, tickets));
  }

// ---- one trade ----------------------------------------------------------------------------------

class TradeCall
  {
private:
   ENUM_TRADE        kind;
   string            symbol;
   int               type;
   double            lots;
   double            price;          // 0: the market's
   int               slippage;       // -1: the default
   string            comment;
   int               magic;
   int               expiration;
   bool              has_expiration; // on a modify: absent keeps the order's own
   int               ticket;
   bool              has_sl;
   bool              has_tp;
   bool              has_sl_points;
   bool              has_tp_points;
   double            sl;
   double            tp;
   int               sl_points;
   int               tp_points;
   bool              close_if_opened;

   bool              ReadStops(const Request &request, JsonWriter &body);
   bool              ReadSlippage(const Request &request, bool is_bridge, JsonWriter &body);
   bool              ReadExpiration(const Request &request, JsonWriter &body);
   bool              ReadTicket(const Request &request, JsonWriter &body);
   bool              ReadSend(const Request &request, bool is_bridge, JsonWriter &body);
   bool              CheckSend(bool has_price, bool needs_token, JsonWriter &body);
   bool              ReadModify(const Request &request, JsonWriter &body);
   bool              ReadClose(const Request &request, bool is_bridge, JsonWriter &body);
   bool              ReadDelete(const Request &request, JsonWriter &body);
   bool              CheckLimits(const TradeLimits &limits, JsonWriter &body);
   double            StopLoss(double reference, double kept);
   double            TakeProfit(double reference, double kept);
   double            Away(double reference, int points);
   ENUM_STATE        Send(JsonWriter &body);
   ENUM_STATE        Modify(JsonWriter &body);
   ENUM_STATE        Delete(JsonWriter &body);

public:
                     TradeCall() { Reset(); }
   void              Reset();
   string            Comment() const { return(comment); }
   bool              Read(ENUM_TRADE which, const Request &request, const TradeLimits &limits, bool is_bridge, JsonWriter &body);
   ENUM_STATE        Execute(JsonWriter &body);
  };

void TradeCall::Reset()
  {
   kind = TRADE_NONE;
   symbol = "";
   comment = "";
   type = 0;
   lots = 0.0;
   price = 0.0;
   slippage = -1;
   magic = 0;
   expiration = 0;
   has_expiration = false;
   ticket = 0;
   has_sl = false;
   has_tp = false;
   has_sl_points = false;
   has_tp_points = false;
   sl = 0.0;
   tp = 0.0;
   sl_points = 0;
   tp_points = 0;
   close_if_opened = false;
  }

// False: the parameters are refused for good, and the reply is written. A plain client's request
// (`is_bridge` false) needs no token.
bool TradeCall::Read(ENUM_TRADE which, const Request &request, const TradeLimits &limits, bool is_bridge, JsonWriter &body)
  {
   Reset();
   kind = which;
   if(which == TRADE_SEND)
      return(ReadSend(request, is_bridge, body) && CheckLimits(limits, body));
   if(which == TRADE_MODIFY)
      return(ReadModify(request, body));
   if(which == TRADE_CLOSE)
      return(ReadClose(request, is_bridge, body));
   return(ReadDelete(request, body));
  }

// Each value is read into a local first: members cannot be passed by reference everywhere.
bool TradeCall::ReadStops(const Request &request, JsonWriter &body)
  {
   double stop = 0.0;
   double profit = 0.0;
   int stop_points = 0;
   int profit_points = 0;
   has_sl = request.Has("sl");
   has_tp = request.Has("tp");
   has_sl_points = request.Has("sl_points");
   has_tp_points = request.Has("tp_points");
   if(!request.ReadReal("sl", stop, body) || !request.ReadReal("tp", profit, body))
      return(false);
   if(!request.ReadInteger("sl_points", stop_points, body) || !request.ReadInteger("tp_points", profit_points, body))
      return(false);
   sl = stop;
   tp = profit;
   sl_points = stop_points;
   tp_points = profit_points;
   return(true);
  }

// A plain client's negative slippage is the default.
bool TradeCall::ReadSlippage(const Request &request, bool is_bridge, JsonWriter &body)
  {
   int number = -1;
   if(!request.ReadInteger("slippage", number, body))
      return(false);
   slippage = number;
   if(number >= 0 || !is_bridge || !request.Has("slippage"))
      return(true);
   WriteMessage(body, "Param \"slippage\" is negative.");
   return(false);
  }

#define NOT_PENDING "Only a pending order can have an \"expiration\" parameter."

// For a modify; the order is selected.
bool TradeCall::ReadExpiration(const Request &request, JsonWriter &body)
  {
   int number = 0;
   if(!request.ReadInteger("expiration", number, body))
      return(false);
   expiration = number;
   has_expiration = request.Has("expiration");
   string why = "";
   if(has_expiration && !IsPendingType(OrderType()))
      why = NOT_PENDING;
   else if(number < 0)
      why = "Param \"expiration\" is negative.";
   if(why == "")
      return(true);
   WriteMessage(body, why);
   return(false);
  }

bool RefuseDoubleStops(const Request &request, JsonWriter &body)
  {
   if(request.Has("sl") && request.Has("sl_points"))
     {
      WriteMessage(body, "Stop-loss cannot be both relative (sl_points) and absolute (sl).  Specify one or the other.");
      return(false);
     }
   if(request.Has("tp") && request.Has("tp_points"))
     {
      WriteMessage(body, "Take-profit cannot be both relative (tp_points) and absolute (tp).  Specify one or the other.");
      return(false);
     }
   return(true);
  }

bool TradeCall::ReadSend(const Request &request, bool is_bridge, JsonWriter &body)
  {
   int number = 0;
   double real = 0.0;
   if(!request.Require("symbol", body) || !request.Require("order_type", body) || !request.Require("lots", body) || !request.Require("comment", body))
      return(false);
   if(!request.ReadText("symbol", symbol, body) || !request.ReadInteger("order_type", number, body) || !request.ReadReal("lots", real, body))
      return(false);
   type = number;
   lots = real;
   if(!request.ReadText("comment", comment, body))
      return(false);
   number = 0;
   if(!request.ReadInteger("magic_number", number, body))
      return(false);
   magic = number;
   number = 0;
   if(!request.ReadInteger("expiration", number, body))
      return(false);
   expiration = number;
   if(!RefuseDoubleStops(request, body) || !CheckSend(request.Has("price"), is_bridge, body))
      return(false);
   real = 0.0;
   if(!request.ReadReal("price", real, body) || !ReadSlippage(request, is_bridge, body))
      return(false);
   price = real;
   return(ReadStops(request, body));
  }

bool TradeCall::CheckSend(bool has_price, bool needs_token, JsonWriter &body)
  {
   ResetLastError();
   if(!SymbolSelect(symbol, true))
     {
      WriteCodeAndMessage(body, GetLastError(), symbol);
      return(false);
     }
   string why = "";
   if(!IsMarketType(type) && !IsPendingType(type))
      why = "Invalid trade operation: " + IntegerToString(type);
   else if(IsPendingType(type) && !has_price)
      why = "Cannot place a pending order without the \"price\" parameter.";
   else if(expiration != 0 && !IsPendingType(type))
      why = NOT_PENDING;
   else if(needs_token && !IsToken(comment))
      why = "Param \"comment\" does not begin with a token.";
   if(why == "")
      return(true);
   WriteMessage(body, why);
   return(false);
  }

#define LOTS_NOISE 0.0000001

// The lots of all open and pending orders; -1 if one cannot be read.
double OpenLots()
  {
   double sum = 0.0;
   for(int i = OrdersTotal() - 1; i >= 0; i--)
     {
      if(!OrderSelect(i, SELECT_BY_POS, MODE_TRADES))
         return(-1.0);
      sum += OrderLots();
     }
   return(sum);
  }

string WhyTooMuchOpen(double lots, double max_open_lots)
  {
   double open = OpenLots();
   if(open < 0.0)
      return("The open lots cannot be read, and MaxOpenLots is " + DoubleToString(max_open_lots, 2) + ".");
   if(open + lots <= max_open_lots + LOTS_NOISE)
      return("");
   return(DoubleToString(open + lots, 2) + " lots would be open, and MaxOpenLots is " + DoubleToString(max_open_lots, 2) + ".");
  }

bool TradeCall::CheckLimits(const TradeLimits &limits, JsonWriter &body)
  {
   string why = "";
   if(limits.symbols != "" && StringFind(limits.symbols, "," + symbol + ",") < 0)
      why = "Symbol " + symbol + " is not in AllowedSymbols.";
   else if(limits.max_lots_per_order > 0.0 && lots > limits.max_lots_per_order + LOTS_NOISE)
      why = "Lots " + DoubleToString(lots, 2) + " are above MaxLotsPerOrder " + DoubleToString(limits.max_lots_per_order, 2) + ".";
   else if(limits.max_open_orders > 0 && OrdersTotal() >= limits.max_open_orders)
      why = "There are " + IntegerToString(OrdersTotal()) + " orders, and MaxOpenOrders is " + IntegerToString(limits.max_open_orders) + ".";
   else if(limits.max_open_lots > 0.0)
      why = WhyTooMuchOpen(lots, limits.max_open_lots);
   if(why == "")
      return(true);
   WriteMessage(body, why);
   return(false);
  }

// The ticket of an order that exists, open or closed.
bool TradeCall::ReadTicket(const Request &request, JsonWriter &body)
  {
   int number = 0;
   if(!request.Require("ticket", body) || !request.ReadInteger("ticket", number, body))
      return(false);
   ticket = number;
   if(SelectTicket(number))
      return(true);
   WriteMessage(body, "Order # " + IntegerToString(number) + " not found.");
   return(false);
  }

bool TradeCall::ReadModify(const Request &request, JsonWriter &body)
  {
   double real = 0.0;
   if(!ReadTicket(request, body) || !RefuseDoubleStops(request, body))
      return(false);
   if(!request.ReadReal("price", real, body))
      return(false);
   price = real;
   return(ReadStops(request, body) && ReadExpiration(request, body));
  }

bool TradeCall::ReadClose(const Request &request, bool is_bridge, JsonWriter &body)
  {
   double real = 0.0;
   if(!ReadTicket(request, body))
      return(false);
   double size = OrderLots();
   if(!request.ReadReal("lots", size, body) || !request.ReadReal("price", real, body) || !ReadSlippage(request, is_bridge, body))
      return(false);
   lots = size;
   price = real;
   return(true);
  }

bool TradeCall::ReadDelete(const Request &request, JsonWriter &body)
  {
   bool flag = false;
   if(!ReadTicket(request, body) || !request.ReadBoolean("close_if_opened", flag, body))
      return(false);
   close_if_opened = flag;
   return(true);
  }

// ---- execution ----------------------------------------------------------------------------------

ENUM_STATE WriteTradeError(int code, string message, JsonWriter &body)
  {
   WriteCodeAndMessage(body, code, message);
   return(StateOfCode(code));
  }

// Close at the market unless a price is given; a slippage of -1 is the default.
ENUM_STATE CloseOrder(int ticket, double lots, double price, int slippage, JsonWriter &body)
  {
   string number = IntegerToString(ticket);
   if(!SelectTicket(ticket))
     {
      WriteMessage(body, "Order # " + number + " not found.");
      return(STATE_REJECTED);
     }
   double closing = price > 0.0 ? price : ClosingPrice(OrderSymbol(), OrderType());
   int points = slippage >= 0 ? slippage : DefaultSlippage(OrderSymbol());
   ResetLastError();
   bool is_closed = OrderClose(ticket, lots, closing, points, CLR_NONE);
   int code = GetLastError();
   if(!is_closed)
      return(WriteTradeError(code, "Failed to close order # " + number + ".", body));
   body.AddText("response", "Closed order # " + number);
   return(STATE_DONE);
  }

// Make the one trade call. What it proves is returned, what is to be said is in `body`.
ENUM_STATE TradeCall::Execute(JsonWriter &body)
  {
   RefreshRates();
   if(kind == TRADE_SEND)
      return(Send(body));
   if(kind == TRADE_MODIFY)
      return(Modify(body));
   if(kind == TRADE_CLOSE)
      return(CloseOrder(ticket, lots, price, slippage, body));
   return(Delete(body));
  }

double TradeCall::Away(double reference, int points)
  {
   double distance = points * MarketInfo(symbol, MODE_POINT);
   int digits = (int)MarketInfo(symbol, MODE_DIGITS);
   return(NormalizeDouble(IsBuying(type) ? reference + distance : reference - distance, digits));
  }

// A stop asked for by price counts as it is: 0 takes it away.
double TradeCall::StopLoss(double reference, double kept)
  {
   if(has_sl_points)
      return(Away(reference, 0 - sl_points));
   return(has_sl ? (double)sl : kept);
  }

double TradeCall::TakeProfit(double reference, double kept)
  {
   if(has_tp_points)
      return(Away(reference, tp_points));
   return(has_tp ? (double)tp : kept);
  }

ENUM_STATE TradeCall::Send(JsonWriter &body)
  {
   double opening = price > 0.0 ? (double)price : OpeningPrice(symbol, type);
   if(opening <= 0.0)
      return(WriteTradeError(CODE_OFF_QUOTES, "Failed to send order.", body));
   double reference = IsPendingType(type) ? opening : ClosingPrice(symbol, type);
   int points = slippage >= 0 ? (int)slippage : DefaultSlippage(symbol);
   ResetLastError();
   int sent = OrderSend(symbol, type, lots, opening, points, StopLoss(reference, 0.0), TakeProfit(reference, 0.0), comment, magic, (datetime)(int)expiration, CLR_NONE);
   int code = GetLastError();
   if(sent <= 0)
      return(WriteTradeError(code, "Failed to send order.", body));
   string number = IntegerToString(sent);
   if(!WriteOrder(sent, body))
     {
      WriteMessage(body, "Order # " + number + " was created, but is not found in the Trades or Account History tabs.");
      return(STATE_IN_DOUBT);
     }
   if(OrderCloseTime() != 0)
      body.AddText("warning", "Order # " + number + " was closed immediately after being opened.");
   return(STATE_DONE);
  }

ENUM_STATE TradeCall::Modify(JsonWriter &body)
  {
   string number = IntegerToString(ticket);
   if(!SelectTicket(ticket))
     {
      WriteMessage(body, "Order # " + number + " not found.");
      return(STATE_REJECTED);
     }
   symbol = OrderSymbol();
   type = OrderType();
   bool is_pending = IsPendingType(type);
   if(has_expiration && !is_pending)   // filled since the parameters were read
     {
      WriteMessage(body, NOT_PENDING);
      return(STATE_REJECTED);
     }
   datetime expires = has_expiration ? (datetime)(int)expiration : OrderExpiration();
   double opening = is_pending && price > 0.0 ? (double)price : OrderOpenPrice();
   double reference = is_pending ? opening : ClosingPrice(symbol, type);
   double stop = StopLoss(reference, OrderStopLoss());
   double profit = TakeProfit(reference, OrderTakeProfit());
   ResetLastError();
   bool is_modified = OrderModify(ticket, opening, stop, profit, expires, CLR_NONE);
   int code = GetLastError();
   // Code 1: there was nothing to change, so what was asked for holds already.
   if(!is_modified && code != CODE_NO_RESULT)
      return(WriteTradeError(code, "Failed to modify order # " + number + ".", body));
   if(!WriteOrder(ticket, body))
      WriteMessage(body, "Order # " + number + " is not found in the Trades or Account History tabs.");
   return(STATE_DONE);
  }

ENUM_STATE TradeCall::Delete(JsonWriter &body)
  {
   string number = IntegerToString(ticket);
   bool is_known = SelectTicket(ticket);
   if(is_known && close_if_opened && IsMarketType(OrderType()) && OrderCloseTime() == 0)
      return(CloseOrder(ticket, OrderLots(), 0.0, -1, body));
   ResetLastError();
   bool is_deleted = OrderDelete(ticket, CLR_NONE);
   int code = GetLastError();
   if(!is_deleted)
      return(WriteTradeError(code, "Failed to delete order # " + number + ".", body));
   body.AddText("response", "Deleted pending order # " + number + ".");
   return(STATE_DONE);
  }

// ---- DO_CLOSE_ALL -------------------------------------------------------------------------------

// Which open positions to close; a part that is missing means any.
class CloseFilter
  {
private:
   string            symbol;
   string            side;
   int               magic;
   bool              has_symbol;
   bool              has_magic;
   bool              Fits() const;

public:
                     CloseFilter() { magic = 0; has_symbol = false; has_magic = false; }
   bool              Read(const Request &request, JsonWriter &body);
   int               Choose(int &tickets[]) const;
  };

bool CloseFilter::Read(const Request &request, JsonWriter &body)
  {
   int number = 0;
   symbol = "";
   side = "";
   if(!request.ReadText("symbol", symbol, body))
      return(false);
   ResetLastError();
   has_symbol = request.Has("symbol");   // "" is no symbol, and must not mean every symbol
   if(has_symbol && !SymbolSelect(symbol, true))
     {
      WriteCodeAndMessage(body, GetLastError(), symbol);
      return(false);
     }
   if(!request.ReadText("side", side, body) || !request.ReadInteger("magic_number", number, body))
      return(false);
   magic = number;
   has_magic = request.Has("magic_number");
   if(!request.Has("side") || side == "buy" || side == "sell")
      return(true);
   WriteMessage(body, "Param \"side\" is neither \"buy\" nor \"sell\".");
   return(false);
  }

bool CloseFilter::Fits() const
  {
   if(!IsMarketType(OrderType()) || (has_symbol && OrderSymbol() != symbol))
      return(false);
   if(side != "" && OrderType() != (side == "buy" ? OP_BUY : OP_SELL))
      return(false);
   return(!has_magic || OrderMagicNumber() == magic);
  }

// The tickets first, the oldest first: closing changes the list.
int CloseFilter::Choose(int &tickets[]) const
  {
   ArrayFree(tickets);
   for(int i = 0; i < OrdersTotal(); i++)
     {
      if(!OrderSelect(i, SELECT_BY_POS, MODE_TRADES) || !Fits())
         continue;
      int count = ArraySize(tickets);
      ArrayResize(tickets, count + 1);
      tickets[count] = OrderTicket();
     }
   return(ArraySize(tickets));
  }

#endif

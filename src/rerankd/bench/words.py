"""Words to make requests of: common English and Chinese ones, from several fields, so that texts differ in subject."""

_ENGLISH = """
the a of and to in is for with on that this from by are it as be at or an was not have which can more also when
system water energy city market school music history doctor patient river law court price trade bank credit loan
engine wheel battery charge network server database index query cache memory thread protein cell virus vaccine
blood heart disease treatment drug trial climate rain storm temperature ocean forest farm soil crop wheat rice
export import tax budget election minister parliament treaty border army museum painting novel poet theatre film
director actor football league goal coach athlete record speed distance planet star galaxy telescope satellite
rocket orbit gravity particle electron magnet laser light sound wave frequency signal antenna phone software
program language compiler function variable error password account security key certificate encryption privacy
contract employee salary pension insurance claim policy customer refund order delivery warehouse supplier invoice
quality standard measure method result analysis model sample average growth decline increase region population
family child teacher student exam university degree research paper journal experiment theory evidence argument
house street bridge train station airport flight ticket hotel kitchen recipe bread cheese fruit sugar salt coffee
paper plastic metal copper iron glass wood stone concrete machine factory worker robot sensor camera image video
small large new old early late fast slow high low common rare public private local national modern ancient
simple complex important possible necessary useful difficult different similar available recent original
uses gives makes takes shows requires provides includes contains changes allows reduces increases explains
describes compares begins ends remains becomes depends helps works runs moves grows falls builds writes reads
"""
ENGLISH = tuple(_ENGLISH.split())
"""Roughly by how common they are: the first ones are drawn most often."""

_CHINESE = """
的 是 在 和 了 有 不 与 为 以 对 中 也 可以 我们 这个 一种 通过 进行 需要 使用 由于 因此 但是 如果 其中 以及 目前
系统 数据 模型 信息 网络 技术 方法 研究 问题 结果 分析 文档 检索 查询 排序 相关 搜索 引擎 服务 用户 请求 接口 密码
账户 安全 证书 加密 隐私 设置 登录 软件 程序 语言 函数 变量 错误 内存 线程 缓存 索引 数据库 服务器 手机 电脑 芯片
经济 市场 价格 贸易 银行 贷款 利率 税收 预算 投资 企业 公司 合同 员工 工资 保险 客户 订单 退款 物流 仓库 发票 质量
标准 北京 上海 广东 城市 农村 人口 地区 国家 政府 法律 法院 政策 选举 条约 边境 历史 文化 博物馆 绘画 小说 诗人
戏剧 电影 导演 演员 音乐 足球 比赛 教练 运动员 学校 老师 学生 考试 大学 学位 论文 期刊 实验 理论 证据 医院 医生
患者 疾病 治疗 药物 疫苗 病毒 蛋白质 细胞 血液 心脏 手术 气候 降雨 温度 海洋 森林 土壤 水稻 小麦 农业 河流 能源
电池 充电 汽车 发动机 火车 车站 机场 航班 酒店 厨房 面包 水果 咖啡 金属 塑料 玻璃 工厂 机器人 传感器 图像 视频
卫星 火箭 轨道 引力 电子 激光 声音 信号 频率 提高 减少 增加 变化 发展 影响 包括 提供 要求 说明 描述 比较 开始 结束
重要 主要 不同 相同 常见 公共 私人 现代 古代 简单 复杂 必要 可能 最近 原来 大规模 高性能 低成本 长期 短期 第一 第二
"""
CHINESE = tuple(_CHINESE.split())
"""As ENGLISH."""
